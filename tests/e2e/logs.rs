//! The logs of a running instance: level, file, the state of everything on demand.

use std::{fs, path::Path, time::Duration};

use crate::support::{Server, Signal, Tree, eventually, run_alone};

const LIMIT: Duration = Duration::from_secs(10);

fn ctl(server: &Server, arguments: &[&str]) -> (i32, String) {
    let socket = server.folder().join("run/control.sock");
    let ran = run_alone(server.folder(), &[&["ctl", "--socket", socket.to_str().unwrap()], arguments].concat());
    (ran.code, format!("{}{}", ran.stdout, ran.stderr))
}

/// Waits until a log has this many lines with these words.
fn wait_lines(log: &Path, count: usize, words: &str) {
    eventually(LIMIT, &format!("{count} lines with {words:?}"), || {
        let text = fs::read_to_string(log).unwrap_or_default();
        (text.lines().filter(|line| line.contains(words)).count() == count).then_some(())
    });
}

/// Whether any process of the instance holds this file open.
fn is_held(server: &Server, file: &Path) -> bool {
    let pids = server.survivors().into_iter().map(|process| process.pid).chain([server.pid()]);
    pids.filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok())
        .flatten()
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file))
}

#[test]
fn one_file_takes_the_lines_of_all_processes_and_is_opened_anew_when_asked() {
    let tree = Tree::new();
    let (log, moved) = (tree.path("task-mcp.log"), tree.path("task-mcp.log.1"));
    let server = Server::build(tree.root()).set("telemetry.log_file", log.display()).start();
    wait_lines(&log, 2, "The index of changes is warm.");
    wait_lines(&log, 1, "The instance is ready.");
    assert_eq!(server.stderr(), "", "nothing is left on standard error");
    fs::rename(&log, &moved).unwrap();
    assert!(is_held(&server, &moved));
    server.signal(Signal::SIGUSR1);
    wait_lines(&log, 4, "The log file was opened anew.");
    assert!(!is_held(&server, &moved), "logrotate may compress it");
    // A process that comes later finds the new file by itself.
    server.kill_worker();
    wait_lines(&log, 1, "The index of changes is warm.");
}

#[test]
fn a_process_that_boots_while_the_file_is_moved_opens_it_anew_when_it_is_ready() {
    let tree = Tree::new();
    let (log, moved) = (tree.path("task-mcp.log"), tree.path("task-mcp.log.1"));
    let server = Server::build(tree.root()).fixture().set("telemetry.log_file", log.display()).start();
    server.set_faults("boot_delay_ms = 2000\n");
    let victim = server.kill_worker();
    server.wait_workers(2, &[victim]);
    wait_lines(&log, 1, "This worker has faults on purpose.");
    fs::rename(&log, &moved).unwrap();
    server.signal(Signal::SIGUSR1);
    wait_lines(&log, 4, "The log file was opened anew.");
    assert!(!is_held(&server, &moved), "logrotate may compress it");
}

#[test]
fn a_log_file_that_cannot_be_opened_is_named_and_nothing_starts() {
    let tree = Tree::new();
    let (code, told) = Server::build(tree.root()).set("telemetry.log_file", "/proc/nowhere/x.log").start_refused();
    assert_eq!(code, 78, "{told}");
    assert!(told.contains("telemetry.log_file") && told.contains("/proc/nowhere/x.log"), "{told}");
}

#[test]
fn the_level_changes_in_all_processes_and_in_those_that_come_later() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let log = server.folder().join("stderr");
    let (code, told) = ctl(&server, &["log-level", "debug"]);
    assert!(code == 0 && told.contains("debug"), "{told}");
    wait_lines(&log, 3, "The log level was changed.");
    let gone = server.kill_worker();
    server.wait_workers(2, &[gone]);
    wait_lines(&log, 4, "The log level was changed.");
    let (code, told) = ctl(&server, &["log-level", "error"]);
    assert_eq!(code, 0, "{told}");
    let (code, told) = ctl(&server, &["log-level", "loud"]);
    assert_eq!(code, 64, "{told}");
    for level in ["error", "warn", "info", "debug", "trace"] {
        assert!(told.contains(level), "{told}");
    }
    let gone = server.kill_worker();
    server.wait_workers(2, &[gone]);
    assert_eq!(ctl(&server, &["log-level", "debug"]).0, 0);
    wait_lines(&log, 7, "The log level was changed.");
    let text = server.stderr();
    assert_eq!(text.matches("A process died.").count(), 1, "a warning of the quiet time: {text}");
    // Settings that are read again end it, also if nothing in them differs.
    assert_eq!(ctl(&server, &["reload"]).0, 0);
    wait_lines(&log, 3, "The log level was changed in all processes.");
    assert!(server.stderr().lines().any(|line| line.contains("in all processes.") && line.contains("info")));
}

#[test]
fn sigquit_writes_the_state_of_everything_to_the_log_and_harms_nobody() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let workers = server.workers();
    server.signal(Signal::SIGQUIT);
    let log = server.folder().join("stderr");
    wait_lines(&log, 3, "State of a slot.");
    wait_lines(&log, 1, "State of the instance.");
    let text = server.stderr();
    for worker in &workers {
        let line =
            text.lines().find(|line| line.contains(&format!("pid={} ", worker.pid)) && line.contains("State of"));
        let line = line.unwrap_or_else(|| panic!("{worker:?}: {text}"));
        for field in ["state=\"live\"", "generation=", "heartbeat_age_ms=", "in_flight=0", "streams=0", "waiting=0"] {
            assert!(line.contains(field), "{field}: {line}");
        }
        for field in ["connections=0", "restarts=0"] {
            assert!(line.contains(field), "{field}: {line}");
        }
    }
    assert_eq!(server.workers(), workers);
}

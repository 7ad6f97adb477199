//! Another program takes the place of the running one: same process, same sockets, no call lost; or nothing changes.

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use serde_json::json;

use crate::support::{Caller, Control, Dialect, Load, Server, Signal, Tree, eventually, modern_call, sized, steady};

const LIMIT: Duration = Duration::from_secs(30);

/// The file of the program a process runs.
fn inode(pid: i32) -> u64 {
    Path::new("/proc").join(pid.to_string()).join("exe").metadata().expect("it runs").ino()
}

fn served_since(server: &Server, before: &[u64]) -> bool {
    let now = Control::new(server).status().pids();
    now.len() == before.len() && now.iter().all(|pid| !before.contains(pid))
}

/// No call was forgotten, and none was counted twice, whatever scoreboards it was counted on.
fn assert_counted(server: &Server, sent: u64) {
    let counted = || {
        let metrics = server.try_metrics()?;
        Some(metrics.sum("http_requests_total", &[("route", "/mcp")]) as u64).filter(|counted| *counted >= sent)
    };
    assert_eq!(eventually(LIMIT, "every call is counted", counted), sent);
}

#[test]
fn another_program_takes_over_under_load_and_no_call_fails() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().installed().set("supervisor.lame_duck_ms", 300).start();
    let mut control = Control::new(&server);
    let program = inode(server.pid());
    let load = steady(&server, &modern_call("changes.active", json!({})), sized(200.0, 2_000.0), sized(32, 200));
    let load = Load::start(load);
    let mut earlier = server.metrics();
    // Back and forth between two programs whose metric series differ.
    for round in 0..sized(3, 5) {
        let before = control.status().pids();
        server.install(round % 2 == 1);
        if round == 1 {
            server.signal(Signal::SIGUSR2);
        } else {
            // The client that asked is answered by the program that took over.
            assert_eq!(
                control.order("upgrade"),
                (true, "The new program is in force; 2 workers were replaced.".to_owned())
            );
        }
        eventually(LIMIT, "every process is new", || served_since(&server, &before).then_some(()));
        load.wait_more(20);
        let now = eventually(LIMIT, "metrics", || server.try_metrics());
        let is_shared = |series: &String| !series.contains("test_") && !series.contains("ETEST");
        let fallen: Vec<String> = now.fallen_since(&earlier).into_iter().filter(is_shared).collect();
        assert_eq!(fallen, [""; 0], "counts are carried over");
        earlier = now;
    }
    let sent: u64 = load.stop_unharmed().iter().map(|report| report.total()).sum();
    assert_counted(&server, sent);
    assert_eq!(inode(server.pid()) == program, sized(3, 5) % 2 == 0, "the supervisor itself is another program");
    let name = std::fs::read_to_string(format!("/proc/{}/comm", server.pid())).unwrap();
    assert_eq!(name.trim(), "task-mcp");
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(10)), 0);
}

#[test]
fn a_call_in_flight_outlives_the_program_that_accepted_it() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().installed().start();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| Caller::new(&server, Dialect::Sse).call("test_sleep", json!({"ms": 4_000})).ok());
        server.wait_in_flight(1);
        server.install(false);
        let (done, told) = Control::new(&server).order("upgrade");
        assert!(done, "{told}");
        assert_eq!(call.join().unwrap()["slept_ms"], 4_000);
    });
}

#[test]
fn a_program_that_cannot_take_over_changes_nothing_and_says_why() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).installed().start();
    let mut control = Control::new(&server);
    let (program, before) = (inode(server.pid()), control.status().pids());
    let load = Load::start(steady(&server, &modern_call("changes.active", json!({})), 100.0, 16));
    for (script, told) in [
        ("this is no program\n", "cannot take over"),
        ("#!/bin/sh\necho the new one is broken >&2\nexit 3\n", "the new one is broken"),
        ("#!/bin/sh\nexit 0\n", "cannot take over"),
        ("#!/bin/sh\nhead -c 1000000 /dev/zero | tr '\\0' x >&2\nkill -9 $$\n", "a signal"),
        ("#!/bin/sh\nexec sleep 60\n", "in time"),
    ] {
        server.install_script(script);
        let (done, reason) = control.order("upgrade");
        assert!(!done && reason.contains(told) && reason.len() < 10_000, "{script}: {reason}");
    }
    load.stop_unharmed();
    assert_eq!((inode(server.pid()), control.status().pids()), (program, before));
    // Settings that the new program, or a running instance, refuses are its reason too.
    server.install(true);
    for (toml, told) in [
        ("limits.body_bytes = 1\n", "limits.body_bytes"),
        ("telemetry.log_file = \"/proc/nowhere/x.log\"\n", "telemetry.log_file"),
        ("supervisor.control_socket = \"/tmp/elsewhere.sock\"\n", "supervisor.control_socket"),
    ] {
        server.write_settings(toml);
        let (done, reason) = control.order("upgrade");
        assert!(!done && reason.contains(told), "{toml}: {reason}");
    }
    server.write_settings("");
    assert!(control.order("upgrade").0, "and once it can, it does");
}

#[test]
fn a_program_whose_workers_cannot_start_leaves_the_old_ones_serving() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).installed().start();
    let mut control = Control::new(&server);
    let before = control.status().pids();
    let old = inode(i32::try_from(before[0]).unwrap());
    let load = Load::start(steady(&server, &modern_call("changes.active", json!({})), 100.0, 16));
    server.set_faults("exit_at_boot = true\nexit_code = 70\n");
    server.install(true);
    let (done, told) = control.order("upgrade");
    assert!(!done && told.contains("worker 0 died") && told.contains("The program before goes on"), "{told}");
    assert_eq!(control.status().pids(), before);
    let sent: u64 = load.stop_unharmed().iter().map(|report| report.total()).sum();
    // One that crashes now is replaced by the program that works.
    let victim = server.kill_worker();
    let workers = server.wait_workers(2, &[victim]);
    eventually(LIMIT, "it serves, on the scoreboard it was made for", || control.status().is_whole(2).then_some(()));
    assert!(workers.iter().all(|worker| inode(worker.pid) == old));
    server.set_faults("");
    let (done, told) = control.order("upgrade");
    assert!(done, "{told}");
    assert!(server.workers().iter().all(|worker| inode(worker.pid) != old));
    assert_counted(&server, sent);
}

#[test]
fn a_stop_in_the_middle_of_an_upgrade_is_obeyed() {
    let tree = Tree::new();
    for after in [0, 30, 300] {
        let server = Server::build(tree.root()).installed().start();
        server.install(true);
        server.signal(Signal::SIGUSR2);
        // Any moment will do: while the program is asked, while it takes over, while workers are replaced.
        std::thread::sleep(Duration::from_millis(after));
        server.terminate();
        assert_eq!(server.wait_exit(Duration::from_secs(10)), 0, "after {after} ms");
        assert_eq!(server.survivors(), []);
    }
}

#[test]
fn a_script_that_starts_the_program_is_a_program() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).installed().start();
    let mut control = Control::new(&server);
    let load = Load::start(steady(&server, &modern_call("changes.active", json!({})), 100.0, 16));
    let real = server.folder().join("real-program");
    std::fs::hard_link(server.folder().join("program"), &real).unwrap();
    server.install_script(&format!("#!/bin/sh\nexec {} \"$@\"\n", real.display()));
    for _ in 0..2 {
        let (done, told) = control.order("upgrade");
        assert!(done, "{told}");
    }
    load.stop_unharmed();
    // Another one in its place is found, although a script stood between.
    server.install(true);
    assert!(control.order("upgrade").0);
    assert!(server.send(&modern_call("test_counter", json!({}))).text().contains("count"), "it is the other program");
}

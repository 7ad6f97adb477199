//! Another program takes the place of the running one: same process, same sockets, no call lost; or nothing changes.

use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Caller, Control, Dialect, Load, Server, Signal, Tree, Usage, eventually, modern, modern_call, run_alone, sized,
    steady,
};

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
    let names = || -> BTreeSet<String> {
        let listed: Value = serde_json::from_slice(&server.send(&modern("tools/list", json!({}))).body).unwrap();
        let tools = listed["result"]["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = names();
    let mut shared = BTreeSet::new();
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
        if round == 0 {
            shared = first.intersection(&names()).cloned().collect();
        }
        // What only one of them has is not told by the other.
        let is_shared = |series: &String| {
            let tool = series.split_once("tool=\"").and_then(|(_, rest)| rest.split('"').next());
            tool.is_none_or(|tool| shared.contains(tool)) && !series.contains("test_") && !series.contains("ETEST")
        };
        let fallen: Vec<String> = now.fallen_since(&earlier).into_iter().filter(is_shared).collect();
        assert_eq!(fallen, [""; 0], "counts are carried over");
        earlier = now;
    }
    let sent: u64 = load.stop_unharmed().iter().map(|report| report.total()).sum();
    // And the two that asked for names.
    assert_counted(&server, sent + 2);
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
    /// What is in the log, in this order, when the stop comes.
    const STAGES: [&str; 3] = [
        "The installed program is asked whether it can take over.",
        "This program has taken the instance over.",
        "A successor has taken over.",
    ];
    let tree = Tree::new();
    for stages in (1..=STAGES.len()).map(|count| &STAGES[..count]) {
        // Some workers more, so that the upgrade is not over before the stop on a machine that is slow to look.
        let server = Server::build(tree.root()).installed().set("server.workers", 4).start();
        server.install(true);
        server.signal(Signal::SIGUSR2);
        eventually(LIMIT, stages[stages.len() - 1], || has_lines(&server.stderr(), stages).then_some(()));
        server.terminate();
        assert_eq!(server.wait_exit(Duration::from_secs(10)), 0, "after {stages:?}");
        assert_eq!(server.survivors(), []);
        assert!(!server.stderr().contains("All workers were replaced."), "the upgrade was over before the stop");
    }
}

#[test]
fn a_stop_while_the_other_program_hangs_is_obeyed() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).installed().start();
    server.install_script("#!/bin/sh\nexec sleep 60\n");
    server.signal(Signal::SIGUSR2);
    let asked = ["The installed program is asked whether it can take over."];
    eventually(LIMIT, "it is asked", || has_lines(&server.stderr(), &asked).then_some(()));
    let stopped = Instant::now();
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(8)), 0);
    eprintln!("gone after {:?}", stopped.elapsed());
    eventually(Duration::from_secs(5), "neither it nor a worker is left", || {
        server.survivors().is_empty().then_some(())
    });
}

/// Whether the log has lines with these words, in this order.
fn has_lines(log: &str, words: &[&str]) -> bool {
    let mut lines = log.lines();
    words.iter().all(|words| lines.any(|line| line.contains(words)))
}

#[test]
fn who_asks_by_the_program_is_told_by_exit_code_and_standard_error() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).installed().start();
    let socket = server.folder().join("run/control.sock");
    let upgrade = || run_alone(server.folder(), &["ctl", "--socket", socket.to_str().unwrap(), "upgrade"]);
    server.install_script("#!/bin/sh\necho the new one is broken >&2\nexit 3\n");
    let failed = upgrade();
    assert!(failed.code == 1 && failed.stdout.is_empty(), "{failed:?}");
    assert!(failed.stderr.contains("the new one is broken"), "{failed:?}");
    server.install(true);
    let done = upgrade();
    assert!(done.code == 0 && done.stderr.is_empty(), "{done:?}");
    assert!(done.stdout.contains("The new program is in force"), "{done:?}");
}

#[test]
fn upgrade_after_upgrade_leaves_no_descriptor_behind() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().installed().set("supervisor.lame_duck_ms", 0).start();
    let mut control = Control::new(&server);
    let mut upgrade = |round: usize| {
        server.install(round % 2 == 1);
        let (done, told) = control.order("upgrade");
        assert!(done, "{told}");
        let worker = control.status().workers()[0].pid().expect("it serves");
        [server.pid(), worker]
    };
    let count = |pids: [i32; 2]| pids.map(|pid| Usage::of(pid).descriptors);
    let open = |pid: i32| {
        let links = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("ours to look at");
        let links = links.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.map(|link| link.to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    // The first two open what is opened once, for each of the two programs.
    // A worker that is ready may still hold what it warms up with, or a connection that is being closed.
    let steady = |pids: [i32; 2]| {
        let mut before = count(pids);
        let mut since = Instant::now();
        eventually(LIMIT, "as many descriptors for half a second", || {
            let now = count(pids);
            if now != before {
                (before, since) = (now, Instant::now());
            }
            (since.elapsed() > Duration::from_millis(500)).then_some(now)
        })
    };
    let first = [steady(upgrade(0)), steady(upgrade(1))];
    for round in 2..sized(6, 40) {
        let pids = upgrade(round);
        let now = steady(pids);
        assert_eq!(now, first[round % 2], "supervisor and worker 0 after upgrade {}: {:?}", round + 1, pids.map(open));
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

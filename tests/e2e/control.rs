//! A running instance under control: status, rolling restarts, more and fewer workers, workers that hang.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use task_mcp_bench::{Control, Outcome, Plan, Report, Reuse, run};

use crate::support::{Caller, Dialect, Server, Signal, Tree, eventually, modern_call, run_alone};

/// Runs `task-mcp ctl` on the server's socket: exit status and standard output.
pub(crate) fn ctl(server: &Server, arguments: &[&str]) -> (i32, String) {
    let socket = server.folder().join("run/control.sock");
    let mut all = vec!["ctl", "--socket", socket.to_str().unwrap(), "--timeout-s", "60"];
    all.extend(arguments);
    let ran = run_alone(server.folder(), &all);
    (ran.code, format!("{}{}", ran.stdout, ran.stderr))
}

fn status(server: &Server) -> Value {
    let (code, text) = ctl(server, &["status", "--json"]);
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The pids of the workers that serve.
fn live(server: &Server) -> BTreeSet<u64> {
    let status = status(server);
    let slots = status["slots"].as_array().unwrap();
    let workers = slots.iter().filter(|slot| slot["name"].as_str().unwrap().starts_with("worker"));
    workers
        .filter(|slot| slot["state"] == "live" && slot["second"].is_null())
        .filter_map(|slot| slot["pid"].as_u64())
        .collect()
}

/// Acts while clients call, on kept and on fresh connections, and returns what became of their calls.
pub(crate) fn under_load(server: &Server, act: impl FnOnce()) -> [Report; 2] {
    let plan = |reuse| {
        let mut plan = Plan::new(server.address(), modern_call("test_sleep", json!({"ms": 5})));
        (plan.connections, plan.reuse, plan.max_duration) = (4, reuse, Duration::from_secs(60));
        plan
    };
    let plans = [plan(Reuse::KeepAlive), plan(Reuse::OnePerRequest)];
    let controls = plans.clone().map(|plan| plan.control);
    let more = |count: u64| {
        let before = controls.clone().map(|control| control.finished());
        eventually(Duration::from_secs(20), "the load goes on", || {
            controls.iter().zip(before).all(|(control, before)| control.finished() >= before + count).then_some(())
        });
    };
    let runs = plans.map(|plan| thread::spawn(move || run(&plan).unwrap()));
    more(50);
    act();
    more(50);
    controls.iter().for_each(Control::stop);
    runs.map(|run| run.join().unwrap())
}

#[test]
fn status_shows_every_process_to_people_and_programs() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let told = status(&server);
    assert_eq!((told["pid"].as_i64(), told["workers"].as_u64()), (Some(server.pid().into()), Some(2)));
    let pids: BTreeSet<u64> = server.workers().iter().map(|worker| worker.pid as u64).collect();
    assert_eq!(live(&server), pids);
    let (code, table) = ctl(&server, &["status"]);
    assert!(code == 0 && table.contains("worker 1") && table.contains("admin process"), "{table}");
}

#[test]
fn an_instance_is_found_and_stopped_while_its_settings_are_broken() {
    const RUN: &str = "[supervisor]\nruntime_dir = \"run\"\n";
    let tree = Tree::new();
    let server = Server::build(tree.root()).by_file("supervisor.runtime_dir").settings(RUN).start();
    let ctl = |command| run_alone(server.folder(), &["ctl", "--config", "settings.toml", command]);
    for (before, after) in [
        ("", "[server]\nlisten = [\"127.0."),
        ("[server]\nworkers = 4x\n", ""),
        ("nonsense = 1\n", "[store]\nroot = \"/nowhere/at/all\"\n"),
    ] {
        server.write_settings(&format!("{before}{RUN}{after}"));
        let status = ctl("status");
        assert!(status.code == 0 && status.stdout.contains("worker 1"), "{before}{after}: {status:?}");
        let reload = ctl("reload");
        assert!(reload.code == 1 && reload.stderr.contains("settings.toml"), "the settings are wrong: {reload:?}");
    }
    // A file that does not tell where the instance is names none, least of all the one with the default path.
    server.write_settings("[server]\nworkers = 4\n[supervis");
    let status = ctl("status");
    assert!(status.code == 78 && status.stderr.contains("not valid TOML"), "{status:?}");
    server.write_settings(&format!("{RUN}[serv"));
    assert_eq!(ctl("stop").code, 0);
    assert_eq!(server.wait_exit(Duration::from_secs(10)), 0);
}

#[test]
fn a_rolling_restart_fails_no_call() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("supervisor.lame_duck_ms", 300).start();
    let before = live(&server);
    let reports = under_load(&server, || {
        let (code, told) = ctl(&server, &["restart"]);
        assert_eq!(code, 0, "{told}");
    });
    for report in reports {
        assert_eq!(report.failed(), 0, "{report}");
    }
    let after = live(&server);
    assert!(after.len() == 2 && after.is_disjoint(&before), "{before:?} {after:?}");
}

#[test]
fn more_and_fewer_workers_fail_no_call() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("supervisor.lame_duck_ms", 300).start();
    let reports = under_load(&server, || {
        for workers in ["4", "1", "3"] {
            let (code, told) = ctl(&server, &["scale", workers]);
            assert_eq!(code, 0, "{told}");
            eventually(Duration::from_secs(15), "the workers are there", || {
                (live(&server).len().to_string() == workers).then_some(())
            });
        }
    });
    for report in reports {
        assert_eq!(report.failed(), 0, "{report}");
    }
    let (code, told) = ctl(&server, &["scale", "0"]);
    assert!(code == 64 && told.contains("1.."), "the bound is named: {told}");
}

#[test]
fn a_worker_that_stops_is_replaced_and_costs_only_its_own_calls() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    let victim = server.wait_workers(2, &[])[0];
    let reports = under_load(&server, || {
        victim.signal(Signal::SIGSTOP);
        eventually(Duration::from_secs(8), "another worker serves in its place", || {
            let now = live(&server);
            (now.len() == 2 && !now.contains(&(victim.pid as u64))).then_some(())
        });
    });
    for report in reports {
        let lost = report.count(Outcome::Reset) + report.count(Outcome::Eof) + report.count(Outcome::Timeout);
        assert_eq!(report.failed(), lost, "{report}");
        assert!(lost <= 4, "at most what it was serving or had taken: {report}");
    }
}

#[test]
fn nonsense_on_the_control_socket_harms_nobody() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let socket = server.folder().join("run/control.sock");
    let huge = "x".repeat(100_000);
    for nonsense in ["{}\n", "{\"command\":\"explode\"}\n", "\u{0}\u{1}\n", "[[[[\n", huge.as_str()] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let _ = stream.write_all(nonsense.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.contains("\"refused\""), "{:.40}: {answer}", nonsense);
    }
    assert_eq!(live(&server).len(), 2);
    let mode = std::os::unix::fs::PermissionsExt::mode(&socket.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn ctl_says_when_nobody_is_there_and_what_it_does_not_know() {
    let tree = Tree::new();
    let nobody = tree.path("nobody.sock");
    let ran = run_alone(tree.root(), &["ctl", "--socket", nobody.to_str().unwrap(), "status"]);
    assert_eq!(ran.code, 69, "{ran:?}");
    assert!(ran.stderr.contains("nobody.sock"), "{}", ran.stderr);
    assert_eq!(run_alone(tree.root(), &["ctl", "explode"]).code, 64);
}

#[test]
fn ctl_stop_drains_as_sigterm_does() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    thread::scope(|scope| {
        let call = scope.spawn(|| Caller::new(&server, Dialect::Sse).call("test_sleep", json!({"ms": 1_500})).ok());
        server.wait_in_flight(1);
        assert_eq!(ctl(&server, &["stop"]).0, 0);
        assert_eq!(call.join().unwrap()["slept_ms"], 1_500);
        assert_eq!(server.wait_exit(Duration::from_secs(6)), 0);
    });
}

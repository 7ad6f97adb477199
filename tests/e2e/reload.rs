//! Settings that change while the instance runs: in place, with new processes, or not at all.

use std::{net::TcpStream, time::Duration};

use serde_json::json;
use task_mcp_bench::Request;

use crate::support::{
    Control, Load, Server, Session, Signal, Stream, Tree, eventually, modern, modern_call, run_alone, sized, steady,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A call with a token, or none.
fn call(token: Option<&str>) -> Request {
    let request = modern_call("changes.active", json!({}));
    match token {
        Some(token) => request.header("Authorization", &format!("Bearer {token}")),
        None => request,
    }
}

fn log_has(server: &Server, words: &str) {
    eventually(LIMIT, &format!("the log has {words:?}"), || server.stderr().contains(words).then_some(()));
}

#[test]
fn what_can_change_in_place_does_in_every_process_and_no_process_is_replaced() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("server.workers", 3).start();
    let mut control = Control::new(&server);
    let before = control.status().pids();
    assert_eq!(server.send(&call(None)).status, 200);
    server.write_settings(
        "auth.tokens = [\"a-token-of-sixteen-bytes\"]\nadmin.token = \"an-admin-token-of-sixteen\"\nlimits.body_bytes = 300\n\
         limits.subscriptions = 1\n",
    );
    assert_eq!(control.order("reload"), (true, "The settings are in force; 0 workers were replaced.".to_owned()));
    assert_eq!(control.status().pids(), before);
    // Any worker, so more calls than workers.
    for _ in 0..12 {
        assert_eq!(server.send(&call(None)).status, 401);
        assert_eq!(server.send(&call(Some("a-token-of-sixteen-bytes"))).status, 200);
        let large = modern_call("changes.active", json!({"pageToken": "x".repeat(400)}));
        let large = large.header("Authorization", "Bearer a-token-of-sixteen-bytes");
        assert_eq!(server.send(&large).status, 413);
    }
    assert!(server.try_metrics().is_none(), "the admin listener asks for its token");
    // A worker that comes later has them too.
    let victim = server.kill_worker();
    server.wait_workers(3, &[victim]);
    assert!((0..12).all(|_| server.send(&call(None)).status == 401));
}

#[test]
fn reloads_in_place_fail_no_call() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    let mut control = Control::new(&server);
    let before = control.status().pids();
    let load = steady(&server, &modern_call("test_sleep", json!({"ms": 5})), sized(200.0, 2_000.0), sized(32, 200));
    let load = Load::start(load);
    for round in 0..sized(6, 20) {
        server.write_settings(&format!("limits.body_bytes = {}\n", 1_000_000 + round));
        if round % 2 == 0 {
            let (done, told) = control.order("reload");
            assert!(done, "{told}");
        } else {
            let lines = server.stderr().matches("The settings are in force.").count();
            server.signal(Signal::SIGHUP);
            eventually(LIMIT, "it is told", || {
                (server.stderr().matches("The settings are in force.").count() > lines).then_some(())
            });
        }
        load.wait_more(20);
    }
    load.stop_unharmed();
    assert_eq!(control.status().pids(), before);
}

#[test]
fn a_key_that_needs_new_processes_gets_them_and_fails_no_call() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("supervisor.lame_duck_ms", 300).start();
    let mut control = Control::new(&server);
    let before = control.status().pids();
    let load = steady(&server, &modern_call("test_sleep", json!({"ms": 5})), 200.0, 32);
    let load = Load::start(load);
    server.write_settings("limits.keep_alive_s = 70\nstore.poll_ms = 900\n");
    assert_eq!(control.order("reload"), (true, "The settings are in force; 2 workers were replaced.".to_owned()));
    load.stop_unharmed();
    let after = control.status().pids();
    assert!(after.len() == 3 && after.iter().all(|pid| !before.contains(pid)), "{before:?} {after:?}");
    let (done, told) = control.order("reload");
    assert!(done && told.contains("nothing was done"), "{told}");
    assert_eq!(control.status().pids(), after);
}

#[test]
fn bad_settings_are_told_in_full_and_those_before_stay_in_force() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).settings("limits.body_bytes = 5000\n").start();
    let mut control = Control::new(&server);
    let before = control.status().pids();
    let socket = server.folder().join("run/control.sock");
    let reload = || run_alone(server.folder(), &["ctl", "--socket", socket.to_str().unwrap(), "reload"]);
    for (toml, told) in [
        ("limits.body_bytes = 1\nserver.workerz = 3\n", ["limits.body_bytes", "server.workerz"]),
        ("limits.body_bytes = [", ["settings.toml", "line 1"]),
        (
            "server.workers = 0\nsupervisor.control_socket = \"/tmp/elsewhere.sock\"\n",
            ["supervisor.control_socket", "start it again"],
        ),
    ] {
        server.write_settings(toml);
        let ran = reload();
        assert_eq!(ran.code, 1, "{toml}: {ran:?}");
        assert!(told.iter().all(|words| ran.stderr.contains(words)), "{toml}: {}", ran.stderr);
        assert_eq!(control.status().pids(), before);
    }
    server.signal(Signal::SIGHUP);
    log_has(&server, "The settings are not in force; those before are.");
    assert_eq!(server.send(&call(None)).status, 200);
    server.write_settings("limits.body_bytes = 5000\n");
    assert_eq!(reload().code, 0);
}

#[test]
fn new_workers_that_cannot_start_leave_the_old_ones_serving() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    let mut control = Control::new(&server);
    let before = control.status().pids();
    let load = Load::start(steady(&server, &modern_call("test_sleep", json!({"ms": 5})), 200.0, 32));
    server.set_faults("exit_at_boot = true\nexit_code = 70\n");
    server.write_settings("limits.keep_alive_s = 70\n");
    let (done, told) = control.order("reload");
    assert!(!done && told.contains("worker 0 died") && told.contains("stay in force"), "{told}");
    assert_eq!(control.status().pids(), before, "one was tried, and no other");
    // The second new worker fails: the first goes back to the settings before.
    server.set_faults("slots = [1]\nexit_at_boot = true\nexit_code = 70\n");
    server.write_settings("limits.keep_alive_s = 71\n");
    let (done, told) = control.order("reload");
    assert!(!done && told.contains("worker 1 died") && told.contains("with new workers"), "{told}");
    let now = control.status().pids();
    assert!(now[0] != before[0] && now[1..] == before[1..], "{before:?} {now:?}");
    load.stop_unharmed();
    server.set_faults("");
    assert!(control.order("reload").0, "what was refused once may be tried again");
}

#[test]
fn who_asks_while_settings_are_on_their_way_hears_of_those_it_has_written() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("supervisor.lame_duck_ms", 300).start();
    server.write_settings("limits.keep_alive_s = 70\n");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| Control::new(&server).order("reload"));
        log_has(&server, "A rolling restart begins.");
        server.write_settings("limits.keep_alive_s = \"broken\"\n");
        let (done, told) = Control::new(&server).order("reload");
        assert!(!done && told.contains("limits.keep_alive_s"), "{told}");
        assert!(first.join().unwrap().0);
    });
}

#[test]
fn another_address_is_served_before_the_old_one_is_given_up() {
    let tree = Tree::new();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (first, second, admin) = (free(), free(), free());
    let build = Server::build(tree.root()).fixture().by_file("server.listen").by_file("admin.listen");
    let server = build
        .set("supervisor.lame_duck_ms", 300)
        .settings(&format!("server.listen = [\"{first}\"]\nadmin.listen = \"{admin}\"\n"))
        .start();
    let mut control = Control::new(&server);
    let load = Load::start(steady(&server, &modern_call("test_sleep", json!({"ms": 5})), 100.0, 16));
    server.write_settings(&format!("server.listen = [\"{first}\", \"{second}\"]\nadmin.listen = \"{admin}\"\n"));
    assert!(control.order("reload").0);
    load.stop_unharmed();
    for address in [first, second] {
        assert!(task_mcp_bench::fetch(address, &call(None), LIMIT).is_ok_and(|answer| answer.status == 200));
    }
    let other = free();
    server.write_settings(&format!("server.listen = [\"{second}\"]\nadmin.listen = \"{other}\"\n"));
    assert!(control.order("reload").0);
    assert!(TcpStream::connect(first).is_err() && TcpStream::connect(admin).is_err(), "given up");
    assert!(TcpStream::connect(other).is_ok());
    assert!(task_mcp_bench::fetch(second, &call(None), LIMIT).is_ok_and(|answer| answer.status == 200));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_by_others = taken.local_addr().unwrap();
    server.write_settings(&format!(
        "server.listen = [\"{second}\", \"{taken_by_others}\"]\nadmin.listen = \"{other}\"\n"
    ));
    let (done, told) = control.order("reload");
    assert!(!done && told.contains(&taken_by_others.to_string()) && told.contains("in use"), "{told}");
    drop(taken);
}

#[test]
fn the_number_of_workers_follows_the_settings() {
    let tree = Tree::new();
    let server = Server::build(tree.root())
        .by_file("server.workers")
        .settings("server.workers = 1\n")
        .set("supervisor.lame_duck_ms", 0)
        .start();
    let mut control = Control::new(&server);
    for workers in [3, 1] {
        server.write_settings(&format!("server.workers = {workers}\n"));
        let (done, told) = control.order("reload");
        assert!(done && told.contains(&format!("goes to {workers}")), "{told}");
        eventually(LIMIT, "the workers are there", || control.status().is_whole(workers).then_some(()));
    }
    server.write_settings("server.workers = 33\n");
    let (done, told) = control.order("reload");
    assert!(!done && told.contains("server.workers") && told.contains("32"), "{told}");
}

/// What a token holds open: a stream of each era.
fn held_open(server: &Server, token: &str) -> (Stream, Stream) {
    let bearer = format!("Bearer {token}");
    let listen = modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
    let mut listening = Stream::open(server.address(), &listen.header("Authorization", &bearer));
    listening.messages(1);
    let session = Session::open(server, Some(token));
    let get = Request::new("GET", "/mcp").header("Accept", "text/event-stream").header("Authorization", &bearer);
    let get = get.header("MCP-Protocol-Version", "2025-11-25").header("Mcp-Session-Id", session.id().unwrap());
    let mut of_session = Stream::open(server.address(), &get);
    of_session.read_until("retry:", 1);
    (listening, of_session)
}

#[test]
fn a_token_that_is_taken_away_loses_its_open_streams_and_the_others_keep_theirs() {
    let (stays, goes) = ("the-token-that-stays-1", "the-token-that-goes-22");
    let tree = Tree::new();
    let tokens = format!("auth.tokens = [\"{stays}\", \"{goes}\"]\n");
    let server = Server::build(tree.root()).fixture().settings(&tokens).start();
    let (gone_listening, gone_session) = held_open(&server, goes);
    let (mut listening, mut of_session) = held_open(&server, stays);
    server.write_settings(&format!("auth.tokens = [\"{stays}\"]\n"));
    assert!(Control::new(&server).order("reload").0);
    let last = gone_listening.rest().pop().expect("messages");
    assert_eq!(last["result"]["resultType"], "complete", "{last}");
    assert_eq!(gone_session.rest(), Vec::<serde_json::Value>::new());
    let change = modern_call("test_trigger_tool_change", json!({}));
    assert_eq!(server.send(&change.header("Authorization", &format!("Bearer {stays}"))).status, 200);
    listening.read_until("notifications/tools/list_changed", 1);
    of_session.read_until("notifications/tools/list_changed", 1);
}

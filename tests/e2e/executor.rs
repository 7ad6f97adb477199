//! One path for every call: who leaves ends a read and never a write, a tool has a limit, a panic is one error.

use std::{io::Write, net::TcpStream, thread, time::Duration};

use serde_json::{Value, json};
use task_mcp_bench::Request;

use crate::support::{Caller, Dialect, Server, Signal, Tree, eventually, modern_call};

/// Sends a call and closes the connection once its tool runs.
fn leave(server: &Server, request: &Request, runs: &str) {
    let before = server.runs(runs);
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.write_all(&request.to_bytes(&server.address().to_string(), true)).unwrap();
    eventually(Duration::from_secs(5), "the tool runs", || (server.runs(runs) > before).then_some(()));
    assert_eq!(server.runs(&format!("{runs}.done")), before, "it still runs");
}

fn request(dialect: Dialect, server: &Server, tool: &str, arguments: &Value) -> Request {
    match dialect {
        Dialect::Modern => modern_call(tool, arguments.clone()),
        _ => Request::post_json(dialect.path(), Caller::new(server, dialect).body(tool, arguments)),
    }
}

#[test]
fn a_client_that_leaves_ends_its_read() {
    let tree = Tree::new();
    // The heartbeat is no help: the end of the connection is noticed by itself.
    let server = Server::build(tree.root()).fixture().start();
    for dialect in Dialect::ALL {
        for tool in ["test_uncached", "test_cached"] {
            let key = format!("{dialect:?}");
            let arguments = json!({ "key": key, "ms": 20_000 });
            let runs = format!("{tool}.{key}");
            leave(&server, &request(dialect, &server, tool, &arguments), &runs);
            server.wait_in_flight(0);
            assert_eq!(server.runs(&format!("{runs}.done")), 0, "{dialect:?} {tool}");
        }
    }
    // A computation that nobody waits for any longer has ended: nothing of it is in the way of who asks now.
    let asked = Caller::new(&server, Dialect::Modern).call("test_cached", json!({ "key": "Modern", "ms": 0 }));
    assert_eq!(asked.ok()["key"], "Modern");
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(5)), 0, "there is nothing to wait for");
}

#[test]
fn a_client_that_leaves_does_not_end_its_write() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    for dialect in Dialect::ALL {
        let key = format!("{dialect:?}");
        let arguments = json!({ "key": key, "ms": 700 });
        leave(&server, &request(dialect, &server, "test_write", &arguments), &format!("test_write.{key}"));
        eventually(Duration::from_secs(5), "the write is finished", || {
            (server.runs(&format!("test_write.{key}.done")) == 1).then_some(())
        });
    }
}

#[test]
fn a_server_that_stops_waits_for_writes_whose_clients_have_left() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    let arguments = json!({ "key": "left", "ms": 3_000 });
    leave(&server, &request(Dialect::Modern, &server, "test_write", &arguments), "test_write.left");
    server.wait_in_flight(0);
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(8)), 0);
    assert_eq!(server.runs("test_write.left.done"), 1);
}

#[test]
fn a_tool_has_a_limit_of_its_own_that_changes_while_it_runs() {
    let tree = Tree::new();
    let settings = |limit: u32| format!("[tools]\nconcurrency = {limit}\n");
    let server = Server::build(tree.root()).fixture().settings(&settings(1)).set("server.workers", 1).start();
    let caller = Caller::new(&server, Dialect::Ndjson);
    thread::scope(|scope| {
        let slow = scope.spawn(|| caller.call("test_uncached", json!({ "key": "slow", "ms": 4_000 })).ok());
        eventually(Duration::from_secs(5), "it runs", || (server.runs("test_uncached.slow") == 1).then_some(()));
        let refused = caller.call("test_uncached", json!({ "key": "more" })).fault().text;
        assert!(refused.contains("OVERLOADED") && refused.contains("tools.concurrency"), "{refused}");
        caller.call("test_cached", json!({ "key": "more" })).ok();
        server.write_settings(&settings(2));
        server.signal(Signal::SIGHUP);
        eventually(Duration::from_secs(5), "the new limit holds", || {
            caller.call("test_uncached", json!({ "key": "more" })).outcome.ok()
        });
        slow.join().unwrap();
    });
}

#[test]
fn a_panic_in_a_shared_computation_is_an_error_for_all_who_wait() {
    const CALLERS: usize = 16;
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    let workers = server.wait_workers(2, &[]);
    let faults: Vec<String> = thread::scope(|scope| {
        let call = || {
            let caller = Caller::new(&server, Dialect::Modern);
            caller.call("test_cached_panic", json!({ "key": "one", "ms": 300 })).fault().text
        };
        let calls: Vec<_> = (0..CALLERS).map(|_| scope.spawn(call)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    for fault in faults {
        assert!(fault.contains("INTERNAL_ERROR") && !fault.contains("on purpose"), "{fault}");
    }
    let runs = server.runs("test_cached_panic.one");
    assert!((1..=CALLERS).contains(&runs), "{runs}");
    assert_eq!(server.metrics().sum("task_mcp_tool_panics_total", &[]), runs as f64, "each panic is counted once");
    assert_eq!(server.workers(), workers, "no worker has died of it");
    Caller::new(&server, Dialect::Modern).call("test_cached", json!({ "key": "one" })).ok();
}

#[test]
fn an_edit_by_hand_ends_every_result_that_depends_on_it() {
    let tree = Tree::new();
    tree.add_ready_change("edited");
    let server = Server::build(tree.root()).set("server.workers", 4).start();
    let shown = || {
        // A connection of its own each time: any worker may answer.
        let caller = Caller::new(&server, Dialect::Modern);
        let show = caller.call("change.show", json!({ "slug": "edited" })).ok().to_string();
        let list = caller.call("changes.active", json!({})).ok().to_string();
        (show, list)
    };
    for round in 0..5 {
        (0..16).for_each(|_| drop(shown()));
        let title = format!("Title of round {round}");
        tree.write("openspec/changes/edited/proposal.md", &format!("# Change: {title}\n\n## Why\nTo see.\n"));
        let mut agreed = 0;
        eventually(Duration::from_secs(1), "every worker shows the edit", || {
            let (show, list) = shown();
            agreed = if show.contains(&title) && list.contains(&title) { agreed + 1 } else { 0 };
            (agreed == 32).then_some(())
        });
    }
    let missing = || Caller::new(&server, Dialect::Modern).call("change.show", json!({ "slug": "not-yet" }));
    (0..16).for_each(|_| assert!(missing().fault().text.contains("ENOCHANGE")));
    tree.add_ready_change("not-yet");
    eventually(Duration::from_secs(1), "what was missing is there", || missing().outcome.ok());
}

#[test]
fn a_result_is_kept_for_those_it_is_for_until_a_write() {
    const TOKENS: [&str; 2] = ["first-token-0123456789", "second-token-0123456789"];
    let tree = Tree::new();
    let tokens = format!("[\"{}\", \"{}\"]", TOKENS[0], TOKENS[1]);
    let server = Server::build(tree.root()).fixture().set("server.workers", 4).set("auth.tokens", tokens).start();
    let ask = |token: &str, tool: &str| {
        let caller = Caller::new(&server, Dialect::Modern).with_token(token);
        caller.call(tool, json!({ "key": "one" })).ok()
    };
    let hits = |tool| server.metrics().sum("task_mcp_cache_calls_total", &[("tool", tool), ("outcome", "hit")]);
    for tool in ["test_cached", "test_cached_public"] {
        let answers: Vec<Vec<Value>> = TOKENS.iter().map(|token| (0..20).map(|_| ask(token, tool)).collect()).collect();
        assert!(hits(tool) > 10.0, "{tool}: most of 40 calls find what another worker has computed");
        let shared = answers[0].iter().any(|answer| answers[1].contains(answer));
        assert_eq!(shared, tool == "test_cached_public", "{tool}: {answers:?}");
        for token in TOKENS {
            let latest = server.runs(&format!("{tool}.one"));
            ask(token, "test_write");
            let count = ask(token, tool)["count"].as_u64().unwrap();
            assert!(count > latest as u64, "{tool}: nothing from before the write: {count}");
        }
    }
}

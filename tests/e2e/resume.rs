//! Streams of legacy requests that broke: their calls go on, and what was said is fetched again, from any worker.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use task_mcp_bench::Request;

use crate::support::{Answer, Event, Events, Server, Session, Tree, eventually};

const VERSION: &str = "2025-11-25";

fn server(tree: &Tree, workers: usize) -> Server {
    Server::build(tree.root()).fixture().set("server.workers", workers).set("server.heartbeat_ms", 200).start()
}

fn call(session: &Session<'_>, id: &Value, arguments: Value) -> Request {
    let params = json!({"name": "test_tell", "arguments": arguments, "_meta": {"progressToken": "p"}});
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    of(session, Request::post_json("/mcp", body.to_string()))
}

fn get(session: &Session<'_>, last: &str) -> Request {
    of(session, Request::new("GET", "/mcp")).header("Accept", "text/event-stream").header("Last-Event-ID", last)
}

fn of(session: &Session<'_>, request: Request) -> Request {
    request.header("MCP-Protocol-Version", VERSION).header("Mcp-Session-Id", session.id().unwrap())
}

/// Comes back until somebody has the rest of the stream: its events up to the answer.
fn fetch(server: &Server, session: &Session<'_>, last: &str) -> Vec<Event> {
    let mut events = Events::open(server, &get(session, last));
    assert_eq!(events.status(), 200, "{}", events.head());
    std::iter::from_fn(|| events.next()).collect()
}

fn message(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

#[test]
fn a_broken_stream_goes_on_at_whatever_worker_its_client_comes_back_to() {
    let tree = Tree::new();
    let server = server(&tree, 3);
    let session = Session::open(&server, None);
    for round in 0..6 {
        let mut events = Events::open(&server, &call(&session, &json!(round), json!({"count": 8, "ms": 50})));
        let priming = events.next().unwrap();
        assert!(priming.data.is_empty() && priming.retry.is_some(), "{priming:?}");
        let first = events.next().unwrap();
        assert_eq!(message(&first)["params"]["progress"], 1.0);
        let last = if round % 2 == 0 { priming.id.unwrap() } else { first.id.clone().unwrap() };
        drop(events);
        let rest = fetch(&server, &session, &last);
        let progress: Vec<f64> =
            rest.iter().filter_map(|event| message(event)["params"]["progress"].as_f64()).collect();
        let from = if round % 2 == 0 { 1 } else { 2 };
        assert_eq!(progress, (from..=8).map(f64::from).collect::<Vec<_>>(), "each once, in order");
        let answer = message(rest.last().unwrap());
        assert_eq!((&answer["id"], &answer["result"]["structuredContent"]["told"]), (&json!(round), &json!(8)));
        assert_eq!(fetch(&server, &session, rest[0].id.as_ref().unwrap()).len(), rest.len() - 1, "and again");
    }
}

#[test]
fn of_two_connections_that_fetch_one_stream_the_later_one_gets_it() {
    let tree = Tree::new();
    let server = server(&tree, 2);
    let session = Session::open(&server, None);
    let arguments = json!({"count": 40, "ms": 100});
    let mut events = Events::open(&server, &call(&session, &json!(1), arguments));
    let last = events.next().unwrap().id.unwrap();
    drop(events);
    let mut first = Events::open(&server, &get(&session, &last));
    assert_eq!(message(&first.next().unwrap())["params"]["progress"], 1.0);
    let second = fetch(&server, &session, &last);
    let told: Vec<Event> = std::iter::from_fn(|| first.next()).collect();
    let has_answer = |events: &[Event]| events.iter().any(|event| message(event)["id"] == 1);
    assert!(!has_answer(&told), "the earlier one ends before the answer: {} events", told.len());
    assert!(has_answer(&second) && second.len() == 41, "{} events", second.len());
}

#[test]
fn a_call_gives_its_connection_back_and_its_answer_is_fetched() {
    let tree = Tree::new();
    let server = server(&tree, 2);
    let session = Session::open(&server, None);
    let mut events = Events::open(&server, &call(&session, &json!("x"), json!({"release": true, "last_ms": 700})));
    let priming = events.next().unwrap();
    assert!(priming.data.is_empty() && priming.id.is_some() && priming.retry.is_some());
    assert_eq!(events.next(), None, "the connection ends before the answer");
    let rest = fetch(&server, &session, &priming.id.unwrap());
    assert_eq!(message(&rest[0])["id"], "x");
    assert_eq!(rest.len(), 1);
}

#[test]
fn a_client_of_an_earlier_revision_gets_no_event_it_cannot_read() {
    let tree = Tree::new();
    let server = server(&tree, 1);
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}}});
    let answer = server.send(&Request::post_json("/mcp", hello.to_string()));
    let id = answer.header("mcp-session-id").unwrap().to_owned();
    let params =
        json!({"name": "test_tell", "arguments": {"count": 1, "release": true}, "_meta": {"progressToken": 1}});
    let body = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params});
    let request = Request::post_json("/mcp", body.to_string()).header("Mcp-Session-Id", &id);
    let mut events = Events::open(&server, &request.header("MCP-Protocol-Version", "2025-06-18"));
    let all: Vec<Event> = std::iter::from_fn(|| events.next()).collect();
    assert!(all.iter().all(|event| !event.data.is_empty()), "{all:?}");
    assert_eq!(message(all.last().unwrap())["id"], 2, "its connection is kept");
}

#[test]
fn nobody_gets_events_of_another_session_and_nonsense_is_refused() {
    let tree = Tree::new();
    let server = server(&tree, 2);
    let (session, stranger) = (Session::open(&server, None), Session::open(&server, None));
    let mut events = Events::open(&server, &call(&session, &json!(1), json!({"count": 1})));
    let id = events.next().unwrap().id.unwrap();
    events.rest();
    assert_eq!(fetch(&server, &session, &id).len(), 2);
    let status = |session: &Session<'_>, last: &str| Events::open(&server, &get(session, last)).status();
    assert_eq!(status(&stranger, &id), 404, "a name of another session's stream is no name here");
    assert_eq!(status(&session, &format!("{}.1", "0".repeat(32))), 404);
    for bad in ["x", "1.2.3", &format!("{id}0000000000000000000"), "../x.1"] {
        assert_eq!(status(&session, bad), 400, "{bad}");
    }
    assert_eq!(status(&session, &id), 200);
}

#[test]
fn a_request_that_is_cancelled_at_any_worker_ends_without_an_answer() {
    let tree = Tree::new();
    let server = server(&tree, 3);
    let session = Session::open(&server, None);
    let running = |count: f64| {
        eventually(Duration::from_secs(10), &format!("{count} calls run"), || {
            (server.try_metrics()?.sum("task_mcp_tool_calls_running", &[("tool", "test_tell")]) == count).then_some(())
        });
    };
    for (id, other) in [(json!(7), json!("7")), (json!("a"), json!("b"))] {
        let mut events = Events::open(&server, &call(&session, &id, json!({"count": 1, "last_ms": 60_000})));
        let last = events.next().unwrap().id.unwrap();
        events.message();
        for cancelled in [&other, &id] {
            running(1.0);
            let params = json!({"requestId": cancelled, "reason": "test"});
            let body = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
            let told = server.send(&of(&session, Request::post_json("/mcp", body.to_string())));
            assert_eq!(told.status, 202);
            if cancelled == &other {
                assert_eq!(events.next_within(Duration::from_millis(100)), None, "another one is meant");
            }
        }
        running(0.0);
        assert_eq!(events.rest(), Vec::<Value>::new(), "no answer is sent");
        assert_eq!(fetch(&server, &session, &last).len(), 1, "nor fetched");
    }
    // Another session cannot cancel it.
    let mut events = Events::open(&server, &call(&session, &json!(1), json!({"count": 1, "last_ms": 500})));
    let stranger = Session::open(&server, None);
    let body = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    assert_eq!(server.send(&of(&stranger, Request::post_json("/mcp", body.to_string()))).status, 202);
    assert_eq!(events.rest().last().unwrap()["id"], 1);
}

#[test]
fn a_message_of_a_batch_is_cancelled_while_it_is_served_and_before() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("server.workers", 2).start();
    let session = Session::open_as(&server, "2025-03-26", None);
    let sleep = |id: &str| {
        let params = json!({"name": "test_sleep", "arguments": {"ms": 60_000}});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    };
    let ping = |id: &str| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    let cancel = |id: &str| {
        let body = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
        assert_eq!(server.send(&session.request(&body.to_string())).status, 202);
    };
    let running = || {
        eventually(Duration::from_secs(10), "the batch is served", || {
            (server.try_metrics()?.sum("task_mcp_tool_calls_running", &[("tool", "test_sleep")]) == 1.0).then_some(())
        });
    };
    for (batch, answered) in [
        (json!([ping("a"), sleep("b"), sleep("c"), ping("d")]), vec!["a", "d"]),
        (json!([sleep("b"), sleep("c")]), vec![]),
    ] {
        let request = session.request(&batch.to_string());
        let answer = thread::scope(|scope| {
            let answer = scope.spawn(|| server.send(&request));
            running();
            ["c", "b"].into_iter().for_each(cancel);
            answer.join().unwrap()
        });
        assert_eq!(answer.status, if answered.is_empty() { 202 } else { 200 });
        let list: Vec<Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
        assert_eq!(list.iter().filter_map(|one| one["id"].as_str()).collect::<Vec<_>>(), answered);
    }
}

#[test]
fn only_so_many_calls_of_a_principal_go_on_without_a_connection() {
    let tree = Tree::new();
    let server =
        Server::build(tree.root()).fixture().set("server.workers", 1).set("limits.streams_per_principal", 2).start();
    let session = Session::open(&server, None);
    let running = |count: f64| {
        eventually(Duration::from_secs(10), &format!("{count} calls run"), || {
            (server.try_metrics()?.sum("task_mcp_tool_calls_running", &[("tool", "test_tell")]) == count).then_some(())
        });
    };
    let open = |id: u32| Events::open(&server, &call(&session, &json!(id), json!({"count": 1, "last_ms": 60_000})));
    let mut streams: Vec<Events> = (0..3).map(open).collect();
    let last: Vec<String> = streams.iter_mut().map(|stream| stream.next().unwrap().id.unwrap()).collect();
    running(3.0);
    streams.truncate(1);
    thread::sleep(Duration::from_millis(300));
    running(3.0);
    streams.clear();
    running(2.0);
    let told = fetch(&server, &session, &last[0]);
    let error = message(told.last().unwrap());
    assert!(error["error"]["message"].as_str().unwrap().contains("limits.streams_per_principal"), "{error}");
    // One that ends makes room.
    let body = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    assert_eq!(server.send(&of(&session, Request::post_json("/mcp", body.to_string()))).status, 202);
    running(1.0);
    drop(open(4));
    thread::sleep(Duration::from_millis(300));
    running(2.0);
}

#[test]
fn of_a_large_stream_the_last_is_kept() {
    let tree = Tree::new();
    let server = server(&tree, 1);
    let session = Session::open(&server, None);
    let mut events =
        Events::open(&server, &call(&session, &json!(1), json!({"count": 20, "bytes": 500_000, "ms": 20})));
    let first = events.next().unwrap().id.unwrap();
    let told = events.rest();
    assert_eq!(told.len(), 21);
    let again = fetch(&server, &session, &first);
    assert!((8..=9).contains(&again.len()), "4 MiB of 10: {} events", again.len());
    assert_eq!(message(again.last().unwrap()), told[20], "the answer is the last that goes");
}

#[test]
fn a_stream_says_what_its_session_wants_to_hear() {
    let tree = Tree::new();
    let server = server(&tree, 2);
    let session = Session::open(&server, None);
    let log = |level: &str| {
        let request = call(&session, &json!(1), json!({"what": "log", "level": level, "count": 2}));
        let answer = server.send(&request);
        answer.text().matches("notifications/message").count()
    };
    assert_eq!(log("emergency"), 0, "it never said that it wants any");
    let set = |level: &str| {
        assert_eq!(session.call("logging/setLevel", json!({"level": level})).result(), &json!({}));
    };
    set("warning");
    assert_eq!((log("info"), log("warning"), log("error")), (0, 2, 2));
    set("debug");
    assert_eq!(log("debug"), 2);
    let without = json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": "info"}});
    let refused = Answer::new(server.send(&Request::post_json("/mcp", without.to_string())));
    assert_eq!((refused.status, refused.error_code()), (400, Some(-32600)));
    assert!(refused.response.text().contains("Mcp-Session-Id"));
}

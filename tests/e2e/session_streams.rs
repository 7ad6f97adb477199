//! The streams of a session: which of them speaks, who is cut, and how they end.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use task_mcp_bench::Request;
use task_mcp_test_servers::RedisServer;

use crate::support::{
    Control, Events, Server, Session, Shared, Signal, Tree, eventually, modern_as, modern_call, sized,
};

fn server(tree: &Tree, workers: usize) -> Server {
    Server::build(tree.root()).for_load(workers).set("server.heartbeat_ms", 200).start()
}

fn get(session: &Session<'_>) -> Request {
    let request = Request::new("GET", "/mcp").header("Accept", "text/event-stream");
    request.header("MCP-Protocol-Version", "2025-11-25").header("Mcp-Session-Id", session.id().unwrap())
}

fn listen(server: &Server, id: usize, filter: Value) -> Events {
    let request = modern_as(json!(id), &json!({}), "subscriptions/listen", json!({"notifications": filter}));
    let mut events = Events::open(server, &request);
    assert_eq!(events.message()["method"], "notifications/subscriptions/acknowledged");
    events
}

fn change(server: &Server, what: &str) {
    assert_eq!(server.send(&modern_call("test_tell", json!({"change": what}))).status, 200);
}

/// So many streams of a session, all of which have said that they are there, the eldest first.
fn by_age(server: &Server, session: &Session<'_>, count: usize) -> Vec<Events> {
    let open = |_| {
        let mut events = Events::open(server, &get(session));
        // Its number: those of one millisecond have no other order.
        let id = events.next().and_then(|event| event.id).expect("an event with an id");
        let number = id.strip_prefix('u').and_then(|id| id.split_once('.')).expect("the id of a stream").0;
        (u128::from_str_radix(number, 16).expect("a number"), events)
    };
    let mut streams: Vec<(u128, Events)> = (0..count).map(open).collect();
    streams.sort_by_key(|(number, _)| *number);
    streams.into_iter().map(|(_, events)| events).collect()
}

/// What comes until nothing has come for this long.
fn heard(events: &mut Events, quiet: Duration) -> Vec<Value> {
    let mut all = Vec::new();
    while let Some(Some(event)) = events.next_within(quiet) {
        if !event.data.is_empty() {
            all.push(serde_json::from_str(&event.data).unwrap());
        }
    }
    all
}

#[test]
fn of_several_streams_of_a_session_one_speaks_whatever_becomes_of_the_others() {
    let tree = Tree::new();
    let server = server(&tree, 3);
    let session = Session::open(&server, None);
    let mut streams = by_age(&server, &session, 6);
    let quiet = Duration::from_millis(600);
    for _ in 0..3 {
        change(&server, "tools");
        let told: Vec<usize> = streams.iter_mut().map(|stream| heard(stream, quiet).len()).collect();
        assert_eq!(told.iter().sum::<usize>(), 1, "one message on one stream: {told:?}");
        let speaker = told.iter().position(|count| *count == 1).unwrap();
        assert_eq!(speaker, streams.len() - 1, "the youngest");
        streams.pop();
        // Who takes over tells everything: nobody knows what was told last.
        let next = streams.last_mut().unwrap();
        assert_eq!(next.message()["method"], "notifications/tools/list_changed");
        heard(next, quiet);
    }
}

#[test]
fn what_a_killed_worker_did_not_tell_is_told_by_whoever_takes_over() {
    let tree = Tree::new();
    let server = server(&tree, 2);
    // Which worker has a stream is seen when it is killed: until it is the one of the speaker, and another stream lives on.
    for _ in 0..20 {
        let session = Session::open(&server, None);
        let mut streams = by_age(&server, &session, 6);
        let victim = server.kill_worker();
        change(&server, "tools");
        // Far below the time after which another takes over.
        let is_dead = |stream: &mut Events| stream.next_within(Duration::from_millis(200)) == Some(None);
        let mut speaker = streams.pop().unwrap();
        let was_speaker = is_dead(&mut speaker);
        let mut alive: Vec<Events> = Vec::new();
        if was_speaker {
            alive.extend(streams.into_iter().filter_map(|mut stream| (!is_dead(&mut stream)).then_some(stream)));
        }
        if let Some(next) = alive.last_mut() {
            assert_eq!(next.message()["method"], "notifications/tools/list_changed");
            return;
        }
        server.wait_workers(2, &[victim]);
    }
    panic!("no worker had the speaker and not all the others");
}

#[test]
fn a_stream_is_refused_for_what_it_lacks() {
    let tree = Tree::new();
    let server = server(&tree, 1);
    let session = Session::open(&server, None);
    let status = |request: Request| server.send(&request).status;
    let base = || Request::new("GET", "/mcp").header("Accept", "text/event-stream");
    assert_eq!(status(base()), 400, "no session");
    assert_eq!(status(base().header("Mcp-Session-Id", "nonsense")), 404);
    assert_eq!(status(get(&session).header("Accept", "application/json")), 406);
    for method in ["GET", "DELETE"] {
        let modern = Request::new(method, "/mcp").header("MCP-Protocol-Version", "2026-07-28");
        let answer = server.send(&modern.header("Mcp-Session-Id", session.id().unwrap()));
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    }
    assert_eq!(status(Request::new("PUT", "/mcp")), 405);
    // The newest revision has no sessions: what is in the header means nothing.
    let modern = modern_call("test_tell", json!({})).header("Mcp-Session-Id", "nonsense").header("Last-Event-ID", "x");
    assert_eq!(status(modern), 200);
}

#[test]
fn every_listener_hears_over_all_workers_and_two_instances_and_edits_by_hand_too() {
    let (redis, shared) = (RedisServer::start(), Shared::new());
    let key = "[auth]\nsealing_keys = [\"one key of all instances, 32 bytes and more\"]\n";
    let instance = || shared.over_redis(2, &redis, "strict").set("state.backend", "redis").settings(key).start();
    let servers = [instance(), instance()];
    let filter = json!({"toolsListChanged": true, "resourcesListChanged": true});
    let mut listeners: Vec<Events> = (0..12).map(|id| listen(&servers[id % 2], id, filter.clone())).collect();
    let sessions: Vec<Session<'_>> = servers.iter().map(|server| Session::open(server, None)).collect();
    for (session, other) in sessions.iter().zip([&servers[1], &servers[0]]) {
        // The stream of a session may be at another instance than the one that began it.
        listeners.push(Events::open(other, &get(session)));
    }
    // Who listens over Redis hears as soon as the admin processes have joined: until then it is said again.
    for server in &servers {
        eventually(Duration::from_secs(20), "everybody hears", || {
            change(server, "tools");
            let heard = |listener: &mut Events| heard(listener, Duration::from_millis(150));
            let hear = listeners.iter_mut().filter_map(|listener| (!heard(listener).is_empty()).then_some(()));
            (hear.count() == 14).then_some(())
        });
    }
    let told = |listener: &mut Events, method: &str| while listener.message()["method"] != method {};
    change(&servers[0], "tools");
    listeners.iter_mut().for_each(|listener| told(listener, "notifications/tools/list_changed"));
    // Each instance has a watcher of the shared tree.
    shared.tree().write("openspec/changes/by-hand/proposal.md", "# By hand\n");
    listeners.iter_mut().for_each(|listener| told(listener, "notifications/resources/list_changed"));
}

#[test]
fn who_reads_too_slowly_is_cut_and_nobody_else_notices() {
    let tree = Tree::new();
    let server =
        Server::build(tree.root()).fixture().set("server.workers", 1).set("limits.stream_buffer_bytes", 65_536).start();
    let mut reader = listen(&server, 1, json!({"toolsListChanged": true}));
    let params = json!({
        "name": "test_tell", "arguments": {"count": 20_000, "bytes": 50_000},
        "_meta": {
            "progressToken": 1,
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    });
    // More than the sockets of both sides take for a client that reads nothing but the head.
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let request = Request::post_json("/mcp", body.to_string())
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", "test_tell");
    let mut cut = Events::open(&server, &request);
    eventually(Duration::from_secs(20), "the cut is counted", || {
        (server.try_metrics()?.sum("task_mcp_streams_cut_total", &[]) >= 1.0).then_some(())
    });
    assert!(cut.rest().iter().all(|message| message.get("result").is_none()), "it has no answer");
    change(&server, "tools");
    assert_eq!(reader.message()["method"], "notifications/tools/list_changed");
}

#[test]
fn a_drain_ends_every_stream_with_its_last_word_and_waits_for_none() {
    let tree = Tree::new();
    let server = server(&tree, 2);
    let count = sized(60, 400);
    let mut listeners: Vec<Events> =
        (0..count).map(|id| listen(&server, id, json!({"toolsListChanged": true}))).collect();
    let sessions: Vec<Session<'_>> = (0..10).map(|_| Session::open(&server, None)).collect();
    let mut streams: Vec<Events> = sessions.iter().map(|session| Events::open(&server, &get(session))).collect();
    let open = server.metrics().sum("task_mcp_streams_open", &[("kind", "listen")]);
    assert_eq!(open, count as f64);
    let old = server.workers();
    let started = Instant::now();
    Control::new(&server).restart();
    server.wait_workers(2, &old);
    assert!(started.elapsed() < Duration::from_secs(15), "no worker waits for its streams");
    let closed: BTreeSet<u64> = listeners
        .iter_mut()
        .map(|listener| {
            let last = listener.rest().pop().expect("a closing result");
            assert_eq!(last["result"]["resultType"], "complete", "{last}");
            last["id"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(closed.len(), count, "each has its own");
    for stream in &mut streams {
        assert_eq!(stream.rest(), Vec::<Value>::new());
    }
    // They come back, and find somebody.
    let mut again = listen(&server, 1, json!({"toolsListChanged": true}));
    let mut stream = Events::open(&server, &get(&sessions[0]));
    // Its first event says that it listens.
    assert!(stream.next().is_some_and(|event| event.data.is_empty()));
    change(&server, "tools");
    assert_eq!(again.message()["method"], "notifications/tools/list_changed");
    assert_eq!(stream.message()["method"], "notifications/tools/list_changed");
}

#[test]
fn streams_of_a_killed_worker_end_and_another_serves_their_clients() {
    let tree = Tree::new();
    let server = server(&tree, 2);
    let session = Session::open(&server, None);
    let mut streams: Vec<Events> = (0..6).map(|id| listen(&server, id, json!({"toolsListChanged": true}))).collect();
    streams.push(Events::open(&server, &get(&session)));
    let old = server.workers();
    old.iter().for_each(|worker| worker.signal(Signal::SIGKILL));
    for stream in &mut streams {
        assert!(stream.rest().iter().all(|message| message.get("result").is_none()), "nobody was there to close them");
    }
    server.wait_workers(2, &old);
    let mut stream = eventually(Duration::from_secs(5), "the session goes on", || {
        Events::try_open(&server, &get(&session)).filter(|events| events.status() == 200)
    });
    assert!(stream.next().is_some_and(|event| event.data.is_empty()), "it listens");
    change(&server, "tools");
    assert_eq!(stream.message()["method"], "notifications/tools/list_changed");
}

#[test]
fn a_call_that_takes_long_becomes_a_stream_that_lives() {
    let tree = Tree::new();
    let server = server(&tree, 1);
    let quick = Events::open(&server, &modern_call("test_tell", json!({})));
    assert!(quick.head().contains("content-type: application/json"), "{}", quick.head());
    let mut slow = Events::open(&server, &modern_call("test_tell", json!({"last_ms": 1_000})));
    assert!(slow.head().contains("content-type: text/event-stream"), "{}", slow.head());
    let answer = slow.message();
    assert!(answer["result"].is_object() && slow.comments() >= 2, "{} comments", slow.comments());
    let plain = modern_call("test_tell", json!({"last_ms": 500})).header("Accept", "application/json");
    let plain = Events::open(&server, &plain);
    assert!(plain.head().contains("content-type: application/json"), "it does not take events");
}

//! Streams of changes: `subscriptions/listen` of 2026-07-28, and the stream of a session before.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use task_mcp_bench::Request;

use crate::support::{META, Server, ServerBuilder, Session, Stream, Tree, eventually, modern_as, modern_call};

/// The `_meta` field by which a client knows a stream's messages.
fn subscription(message: &Value) -> Value {
    message["params"]["_meta"][format!("{META}/subscriptionId")].clone()
}

fn fixture(tree: &Tree) -> ServerBuilder {
    Server::build(tree.root()).fixture()
}

fn listen(server: &Server, id: Value, filter: Value) -> Stream {
    let request = modern_as(id, &json!({}), "subscriptions/listen", json!({"notifications": filter}));
    Stream::open(server.address(), &request)
}

fn call(server: &Server, tool: &str, arguments: Value) {
    let answer = server.send(&modern_call(tool, arguments));
    assert_eq!(answer.status, 200, "{tool}: {}", answer.text());
}

/// The stream that a session of the older era opens beside its requests.
fn stream_of(server: &Server, session: &Session<'_>) -> Stream {
    let request = Request::new("GET", "/mcp")
        .header("Accept", "text/event-stream")
        .header("MCP-Protocol-Version", "2025-11-25")
        .header("Mcp-Session-Id", session.id().expect("a session has an id"));
    Stream::open(server.address(), &request)
}

/// What every stream of events must say of itself.
fn assert_is_a_stream(stream: &mut Stream) {
    let head = stream.head();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("\r\ncontent-type: text/event-stream"), "{head}");
    assert!(head.contains("\r\nx-accel-buffering: no"), "{head}");
    assert!(head.contains("\r\ncache-control: no-"), "{head}");
}

#[test]
fn a_subscription_is_acknowledged_first_and_its_id_is_on_everything() {
    let tree = Tree::new();
    let server = fixture(&tree).set("server.heartbeat_ms", 100).start();
    for id in [json!(41), json!("a name"), json!(0)] {
        let filter = json!({"toolsListChanged": true, "resourceSubscriptions": ["changes://active"]});
        let mut stream = listen(&server, id.clone(), filter.clone());
        assert_is_a_stream(&mut stream);
        let first = stream.messages(1).remove(0);
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
        assert_eq!(first["params"]["notifications"], filter, "{first}");
        stream.read_until("\n:", 2); // comments keep the stream alive
        call(&server, "test_trigger_tool_change", json!({}));
        call(&server, "test_trigger_prompt_change", json!({}));
        call(&server, "change.open", json!({"slug": format!("change-{}", id.to_string().len()), "title": "One more"}));
        // What the stream before was told of may be told once more: the watcher looks a second time when a tree is quiet.
        let due = ["notifications/resources/updated", "notifications/tools/list_changed"];
        let mut count = 2;
        let messages = loop {
            count += 1;
            let messages = stream.messages(count);
            let methods: BTreeSet<&str> =
                messages.iter().skip(1).filter_map(|message| message["method"].as_str()).collect();
            assert!(methods.iter().all(|method| due.contains(method)), "nothing else was asked for: {methods:?}");
            if methods.len() == due.len() {
                break messages;
            }
        };
        for updated in messages.iter().filter(|message| message["method"] == due[0]) {
            assert_eq!(updated["params"]["uri"], "changes://active");
        }
        for message in &messages {
            assert_eq!(subscription(message), id, "{message}");
            assert!(message.get("id").is_none(), "a notification has no id: {message}");
        }
    }
}

#[test]
fn a_subscription_gets_only_what_it_asked_for() {
    let tree = Tree::new();
    let server = fixture(&tree).start();
    let mut prompts = listen(&server, json!(1), json!({"promptsListChanged": true}));
    let mut nothing = listen(&server, json!(2), json!({}));
    let mut other = listen(&server, json!(3), json!({"resourceSubscriptions": ["change://another/proposal"]}));
    for stream in [&mut prompts, &mut nothing, &mut other] {
        stream.messages(1);
    }
    call(&server, "test_trigger_tool_change", json!({}));
    call(&server, "change.open", json!({"slug": "opened", "title": "Opened"}));
    call(&server, "test_trigger_prompt_change", json!({}));
    let heard = prompts.messages(2);
    assert_eq!(heard[1]["method"], "notifications/prompts/list_changed", "{heard:?}");
    // By now the events before have been delivered to everybody.
    server.terminate();
    for (stream, asked) in [(prompts, 2), (nothing, 1), (other, 1)] {
        let all = stream.rest();
        assert_eq!(all.len(), asked + 1, "and the closing result: {all:?}");
    }
}

#[test]
fn a_subscription_ends_with_its_result_when_the_server_stops() {
    let tree = Tree::new();
    let server = fixture(&tree).start();
    let mut streams: Vec<Stream> =
        (0..6).map(|id| listen(&server, json!(id), json!({"toolsListChanged": true}))).collect();
    for stream in &mut streams {
        stream.messages(1);
    }
    server.terminate();
    for (id, stream) in streams.into_iter().enumerate() {
        let last = stream.rest().pop().expect("messages");
        assert_eq!(last["id"], id, "{last}");
        assert_eq!(last["result"]["resultType"], "complete", "{last}");
        assert_eq!(last["result"]["_meta"][format!("{META}/subscriptionId")], id, "{last}");
    }
    assert_eq!(server.wait_exit(Duration::from_secs(10)), 0, "streams of listeners are ended, not forced");
}

#[test]
fn a_session_hears_of_changes_on_its_stream_whatever_worker_has_it() {
    let tree = Tree::new();
    let server = fixture(&tree).set("server.heartbeat_ms", 100).start();
    let sessions: Vec<Session<'_>> = (0..6).map(|_| Session::open(&server, None)).collect();
    let mut streams: Vec<Stream> = sessions.iter().map(|session| stream_of(&server, session)).collect();
    for stream in &mut streams {
        assert_is_a_stream(stream);
        stream.read_until(":", 2);
    }
    for session in &sessions {
        let subscribed = session.call("resources/subscribe", json!({"uri": "changes://active"}));
        assert_eq!(subscribed.result(), &json!({}));
    }
    call(&server, "change.open", json!({"slug": "opened", "title": "Opened"}));
    call(&server, "test_trigger_tool_change", json!({}));
    for stream in &mut streams {
        stream.read_until("notifications/resources/updated", 1);
        stream.read_until("notifications/tools/list_changed", 1);
        for message in stream.messages(2) {
            assert!(subscription(&message).is_null(), "a field of 2026 has no place here: {message}");
        }
    }
    let ended = sessions[0].call("resources/unsubscribe", json!({"uri": "changes://active"}));
    assert_eq!(ended.result(), &json!({}));
    call(&server, "change.open", json!({"slug": "second", "title": "Second"}));
    call(&server, "test_trigger_prompt_change", json!({}));
    for (at, stream) in streams.iter_mut().enumerate() {
        stream.read_until("notifications/prompts/list_changed", 1);
        let updates = stream.text().matches("notifications/resources/updated").count();
        assert_eq!(updates, if at == 0 { 1 } else { 2 }, "stream {at}: {}", stream.text());
    }
}

#[test]
fn the_end_of_a_session_ends_its_stream_and_is_known_everywhere() {
    let tree = Tree::new();
    let server = fixture(&tree).start();
    let session = Session::open(&server, None);
    let mut stream = stream_of(&server, &session);
    stream.head();
    let id = session.id().expect("a session has an id");
    let delete = Request::new("DELETE", "/mcp").header("Mcp-Session-Id", id);
    assert_eq!(server.send(&delete.clone().header("MCP-Protocol-Version", "2025-11-25")).status / 100, 2);
    stream.rest();
    for _ in 0..20 {
        assert_eq!(session.call("tools/list", json!({})).status, 404, "whatever worker is asked");
    }
    assert_eq!(server.send(&delete.header("MCP-Protocol-Version", "2025-11-25")).status, 404, "there is none any more");
}

#[test]
fn one_principal_cannot_open_and_watch_without_end() {
    let tree = Tree::new();
    let limits = fixture(&tree).set("server.workers", 1);
    let server = limits.set("limits.streams_per_principal", 4).set("limits.subscriptions", 8).start();
    let uris = |count: usize| (0..count).map(|number| format!("change://change-{number}/tasks")).collect::<Vec<_>>();

    let params = json!({"notifications": {"resourceSubscriptions": uris(10_000)}});
    let refused = server.send(&modern_as(json!(1), &json!({}), "subscriptions/listen", params));
    assert!(refused.status < 500 && refused.text().contains("\"error\""), "{}", refused.text());
    assert!(refused.text().contains("limits.subscriptions"), "{}", refused.text());

    let session = Session::open(&server, None);
    for uri in uris(8).iter().chain(&uris(8)) {
        assert_eq!(session.call("resources/subscribe", json!({"uri": uri})).result(), &json!({}), "{uri}");
    }
    let refused = session.call("resources/subscribe", json!({"uri": "changes://active"}));
    assert!(refused.error_code().is_some(), "{:?}", refused.message);
    assert!(refused.response.text().contains("limits.subscriptions"), "{}", refused.response.text());

    let open = |id: usize| listen(&server, json!(id), json!({"resourceSubscriptions": uris(8)}));
    let mut streams: Vec<Stream> = (0..4).map(open).collect();
    for stream in &mut streams {
        stream.messages(1);
    }
    let mut refused = open(4);
    let head = refused.head();
    assert!(head.starts_with("http/1.1 429 "), "{head}");
    let told = refused.rest();
    assert!(told[0]["error"]["message"].as_str().unwrap().contains("limits.streams_per_principal"), "{told:?}");
    streams.pop();
    eventually(Duration::from_secs(5), "a stream that was left makes room", || {
        open(5).head().starts_with("http/1.1 200 ").then_some(())
    });
}

#[test]
fn the_id_of_a_subscription_comes_back_as_it_was_written() {
    let tree = Tree::new();
    let server = fixture(&tree).start();
    for id in ["-0", r#""\ud800""#, r#""\u0061""#, "18446744073709551615"] {
        let placeholder = json!("the id");
        let filter = json!({"notifications": {"toolsListChanged": true}});
        let request = modern_as(placeholder, &json!({}), "subscriptions/listen", filter);
        let bytes = request.to_bytes("localhost", false);
        let body = String::from_utf8(bytes).unwrap().split_once("\r\n\r\n").unwrap().1.replace("\"the id\"", id);
        let request = Request::post_json("/mcp", body)
            .header("MCP-Protocol-Version", "2026-07-28")
            .header("Mcp-Method", "subscriptions/listen");
        let mut stream = Stream::open(server.address(), &request);
        let named = format!("\"{META}/subscriptionId\":{id}");
        stream.read_until(&named, 1);
        call(&server, "test_trigger_tool_change", json!({}));
        stream.read_until(&named, 2);
        let head = stream.head();
        assert!(head.starts_with("http/1.1 200 "), "{id}: {head}");
    }
}

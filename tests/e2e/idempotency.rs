//! Writes under an idempotency key: however often one is sent, it is done once and answered the same.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use task_mcp_bench::{Request, Response, fetch};

use crate::support::{Caller, Dialect, Server, Tree, eventually, modern, modern_call, runs_in};

const KEY: &str = "dev.task-mcp/idempotencyKey";

/// A call of the fixture's write over a connection of its own, under a key in the header.
fn write(server: &Server, dialect: Dialect, key: &str, arguments: &Value) -> Response {
    let request = match dialect {
        Dialect::Modern => modern_call("test_write", arguments.clone()),
        _ => Request::post_json(dialect.path(), Caller::new(server, dialect).body("test_write", arguments)),
    };
    server.send(&request.header("Idempotency-Key", key))
}

/// What is the same whenever it is told: the result as it stands in the answer.
fn result_of(response: &Response) -> String {
    let text = response.text();
    let (_, result) = text.split_once("\"result\":").unwrap_or_else(|| panic!("no result: {text}"));
    result.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_repeat_gets_the_first_answer_in_every_dialect() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("server.workers", 1).start();
    for dialect in Dialect::ALL {
        let arguments = json!({ "key": format!("{dialect:?}"), "bytes": 100 });
        let key = format!("\"0199f2c4-{dialect:?}\"");
        let first = write(&server, dialect, &key, &arguments);
        let again = write(&server, dialect, key.trim_matches('"'), &arguments);
        assert_eq!((result_of(&first), first.status), (result_of(&again), 200), "{dialect:?}");
        assert_eq!(server.runs(&format!("test_write.{dialect:?}")), 1, "{dialect:?}");
        assert_eq!(first.header("idempotency-replayed"), None);
        if !dialect.is_plain() {
            assert_eq!(again.header("idempotency-replayed"), Some("true"), "{dialect:?}");
            assert_eq!(first.body, again.body);
        }
        let other = write(&server, dialect, &key, &json!({ "key": "other" })).text();
        assert!(other.contains("IDEMPOTENCY_CONFLICT"), "{dialect:?}: {other}");
    }
    assert_eq!(server.runs("test_write.other"), 0);
}

#[test]
fn the_key_may_come_in_meta_and_must_not_come_as_two() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("server.workers", 1).start();
    let call = |in_meta: Value| {
        let request = modern("tools/call", json!({ "name": "test_write", "arguments": { "key": "meta" } }));
        let text = String::from_utf8(request.to_bytes("x", true)).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        let mut body: Value = serde_json::from_str(body).unwrap();
        body["params"]["_meta"][KEY] = in_meta;
        let request = Request::post_json("/mcp", body.to_string()).header("MCP-Protocol-Version", "2026-07-28");
        request.header("Mcp-Method", "tools/call").header("Mcp-Name", "test_write")
    };
    let first = server.send(&call(json!("k-1")));
    for again in [call(json!("k-1")), call(json!("k-1")).header("Idempotency-Key", "\"k-1\"")] {
        let again = server.send(&again);
        assert_eq!((again.header("idempotency-replayed"), &again.body), (Some("true"), &first.body));
    }
    assert_eq!(server.runs("test_write.meta"), 1);
    for (bad, code) in [
        (call(json!("k-1")).header("Idempotency-Key", "k-2"), -32020),
        (call(json!("")), -32602),
        (call(json!("a b")), -32602),
        (call(json!(7)), -32602),
        (call(json!("x".repeat(256))), -32602),
        (call(Value::Null).header("Idempotency-Key", "a b"), -32600),
    ] {
        let answer = server.send(&bad);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &body["error"]["code"]), (400, &json!(code)), "{}", answer.text());
    }
    assert_eq!(server.runs("test_write.meta"), 1, "nothing of that was run");
}

#[test]
fn a_repeat_is_told_what_is_known_of_the_first_call() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("server.workers", 1).start();
    let write = |key: &str, arguments: Value| write(&server, Dialect::Modern, key, &arguments).text();
    thread::scope(|scope| {
        let slow = scope.spawn(|| write("slow", json!({ "key": "slow", "ms": 1_500 })));
        eventually(Duration::from_secs(5), "it runs", || (server.runs("test_write.slow") == 1).then_some(()));
        let running = write("slow", json!({ "key": "slow", "ms": 1_500 }));
        assert!(running.contains("IDEMPOTENCY_IN_PROGRESS") && running.contains("hint"), "{running}");
        let first = slow.join().unwrap();
        assert_eq!(first, write("slow", json!({ "key": "slow", "ms": 1_500 })));
    });
    assert_eq!(server.runs("test_write.slow"), 1);

    assert!(write("panic", json!({ "key": "panic", "fail": "panic" })).contains("INTERNAL_ERROR"));
    assert!(write("panic", json!({ "key": "panic", "fail": "panic" })).contains("OUTCOME_UNKNOWN"));
    assert_eq!(server.runs("test_write.panic"), 1);

    for times in 1..=2 {
        assert!(write("again", json!({ "key": "again", "fail": "again" })).contains("EAGAIN"));
        assert_eq!(server.runs("test_write.again"), times, "nothing was done, so it is tried again");
        assert!(write("error", json!({ "key": "error", "fail": "error" })).contains("ETEST"));
        assert_eq!(server.runs("test_write.error"), 1, "the tool has said no");
    }
}

#[test]
fn a_call_that_reads_does_not_mind_a_key() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    for key in ["one", "two"] {
        let read = modern_call("test_uncached", json!({ "key": key }));
        let answer = server.send(&read.header("Idempotency-Key", "same"));
        assert!(answer.text().contains(&format!("\\\"key\\\":\\\"{key}\\\"")), "{}", answer.text());
        assert_eq!(answer.header("idempotency-replayed"), None);
    }
}

#[test]
fn repeats_to_any_worker_run_once() {
    const WRITES: usize = 10;
    const REPEATS: usize = 12;
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("server.workers", 4).start();
    server.wait_workers(4, &[]);
    for number in 0..WRITES {
        let (key, arguments) = (format!("k-{number}"), json!({ "key": format!("w{number}"), "ms": 50 }));
        let answers: Vec<Response> = thread::scope(|scope| {
            // A connection each, so that any worker may get any of them.
            let repeat = || {
                eventually(Duration::from_secs(10), "it is answered", || {
                    let answer = write(&server, Dialect::Modern, &key, &arguments);
                    (!answer.text().contains("IDEMPOTENCY_IN_PROGRESS")).then_some(answer)
                })
            };
            let repeats: Vec<_> = (0..REPEATS).map(|_| scope.spawn(repeat)).collect();
            repeats.into_iter().map(|repeat| repeat.join().unwrap()).collect()
        });
        assert!(answers.iter().all(|answer| answer.body == answers[0].body), "all get the first answer");
        assert!(answers[0].text().contains("\"isError\":false"), "{}", answers[0].text());
        assert_eq!(server.runs(&format!("test_write.w{number}")), 1);
    }
}

#[test]
fn what_became_of_a_write_of_a_killed_worker_is_said_to_be_unknown_also_after_a_restart() {
    let tree = Tree::new();
    let state = tempfile::tempdir().unwrap();
    let start = || {
        let builder = Server::build(tree.root()).fixture().set("server.workers", 1);
        builder.set("supervisor.state_dir", state.path().display()).shared(state.path()).start()
    };
    let server = start();
    let done = write(&server, Dialect::Modern, "done", &json!({ "key": "done" }));
    let lost = json!({ "key": "lost", "ms": 20_000 });
    let began = || runs_in(state.path(), "test_write.lost");
    thread::scope(|scope| {
        let request = modern_call("test_write", lost.clone()).header("Idempotency-Key", "lost");
        let limit = Duration::from_secs(20);
        let address = server.address();
        let first = scope.spawn(move || fetch(address, &request, limit).is_err());
        eventually(Duration::from_secs(5), "it runs", || (began() == 1).then_some(()));
        let victim = server.kill_worker();
        server.wait_workers(1, &[victim]);
        assert!(first.join().unwrap(), "its client learns nothing");
        let unknown = || {
            let answer = write(&server, Dialect::Modern, "lost", &lost).text();
            assert!(!answer.contains("\"isError\":false"), "it is never run again: {answer}");
            answer.contains("OUTCOME_UNKNOWN").then_some(answer)
        };
        // A worker that lives says so every few seconds; until its last word is too old, it may be running still.
        let answer = eventually(Duration::from_secs(30), "the loss is known", unknown);
        assert!(answer.contains("hint"), "{answer}");
    });
    drop(server);
    let server = start();
    assert!(write(&server, Dialect::Modern, "lost", &lost).text().contains("OUTCOME_UNKNOWN"));
    assert_eq!(write(&server, Dialect::Modern, "done", &json!({ "key": "done" })).body, done.body);
    assert_eq!((began(), runs_in(state.path(), "test_write.done")), (1, 1));
}

#[test]
fn removed_files_of_the_state_are_told_and_nothing_is_run_twice() {
    let tree = Tree::new();
    let state = tempfile::tempdir().unwrap();
    let builder = Server::build(tree.root()).fixture().set("server.workers", 1);
    let server = builder.set("supervisor.state_dir", state.path().display()).start();
    let arguments = json!({ "key": "w" });
    write(&server, Dialect::Modern, "k", &arguments);
    let ready = || -> Value { serde_json::from_slice(&server.get("/readyz").body).unwrap() };
    let well = json!({ "configured": "embedded", "inForce": "embedded", "reason": null });
    assert_eq!(ready()["dependencies"]["state"], well);
    std::fs::remove_dir_all(state.path().join("records")).unwrap();
    let refused = write(&server, Dialect::Modern, "other", &arguments).text();
    assert!(refused.contains("IDEMPOTENCY_UNAVAILABLE"), "{refused}");
    assert_eq!(server.runs("test_write.w"), 1);
    let told = ready();
    assert_eq!((&told["status"], &told["ready"]), (&json!("degraded"), &json!(true)));
    assert_eq!(told["dependencies"]["state"]["reason"], "replaced");
    let health: Value = serde_json::from_slice(&server.get("/health").body).unwrap();
    assert_eq!(health["checks"]["state"]["error"], "replaced");
}

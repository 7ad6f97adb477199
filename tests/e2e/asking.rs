//! Calls that ask their client: in rounds that any worker of any instance takes up, and on the streams of legacy sessions, whose
//! answers any worker takes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use task_mcp_bench::Request;

use crate::support::{Answer, Cluster, Control, Server, Shared, Stream, Tree, eventually, modern_as};

const LIMIT: Duration = Duration::from_secs(10);

/// A round of a call: its arguments, what it answers, and the state it continues.
fn round(tool: &str, arguments: Value, responses: Value, state: Option<&str>) -> Request {
    let mut params = json!({"name": tool, "arguments": arguments});
    if !responses.is_null() {
        // A field that is there and null.
        params["inputResponses"] = if responses == "null" { json!(null) } else { responses };
    }
    if let Some(state) = state {
        params["requestState"] = state.into();
    }
    modern_as(json!(1), &json!({"elicitation": {}}), "tools/call", params)
}

fn word(round: u32, word: &str) -> Value {
    json!({format!("word{round}"): {"action": "accept", "content": {"word": word}}})
}

/// The state of an answer that asks for exactly these keys.
#[track_caller]
fn asks(answer: &Answer, keys: &[&str]) -> String {
    let result = answer.result();
    assert_eq!(result["resultType"], "input_required", "{result}");
    let asked: Vec<&String> = result["inputRequests"].as_object().unwrap().keys().collect();
    assert_eq!(asked, keys, "{result}");
    result["requestState"].as_str().unwrap().to_owned()
}

#[track_caller]
fn refused(answer: &Answer, part: &str) {
    assert_eq!((answer.status, answer.error_code()), (400, Some(-32602)), "{}", answer.message);
    let text = answer.message["error"]["message"].as_str().unwrap();
    assert!(text.contains(part), "{text}");
}

fn send(server: &Server, request: &Request) -> Answer {
    Answer::new(server.send(request))
}

#[test]
fn each_round_of_a_write_is_taken_up_by_another_instance_and_it_is_done_once() {
    let cluster = Cluster::start(1);
    let [one, other] = cluster.servers() else { panic!("two instances") };
    let arguments = json!({"key": "rounds", "rounds": 3});
    let call = |server: &Server, responses: Value, state: Option<&str>| {
        send(server, &round("test_ask_write", arguments.clone(), responses, state))
    };
    let first = asks(&call(one, json!(null), None), &["word1"]);
    let second = asks(&call(other, word(1, "a"), Some(&first)), &["word2"]);
    assert_ne!(first, second);
    let again = asks(&call(one, word(1, "a"), Some(&first)), &["word2"]);
    assert_ne!(again, second, "a round that did nothing may be sent again");
    let missing = asks(&call(one, json!({"other": {"action": "decline"}}), Some(&second)), &["word2"]);
    let third = asks(&call(other, word(2, "b"), Some(&missing)), &["word3"]);
    let done = call(one, word(3, "c"), Some(&third));
    assert_eq!(done.result()["structuredContent"]["words"], json!(["a", "b", "c"]));
    assert_eq!(done.result()["structuredContent"]["count"], 1);
    // Replays, at the same instance and at another one.
    for server in [one, other] {
        refused(&call(server, word(3, "c"), Some(&third)), "used before");
        // Nor does the call go on from a state that a round was answered with when it was sent again.
        refused(&call(server, word(2, "b"), Some(&again)), "used before");
        refused(&call(server, word(1, "a"), Some(&first)), "used before");
    }
}

#[test]
fn a_state_counts_for_its_call_alone_and_not_if_it_was_bent() {
    let shared = Shared::new();
    let server = shared.instance(2).set("tools.ask_timeout_s", 2).start();
    let call = |tool: &str, key: &str, responses: Value, state: Option<&str>| {
        send(&server, &round(tool, json!({"key": key}), responses, state))
    };
    let state = asks(&call("test_ask_write", "bent", json!(null), None), &["word1"]);
    let tampered = format!("{state}-TAMPERED");
    let cut = &state[..state.len() - 1];
    for bent in [&tampered, cut, "", "x"] {
        refused(&call("test_ask_write", "bent", word(1, "a"), Some(bent)), "`params.requestState`");
    }
    refused(&call("test_ask_write", "other", word(1, "a"), Some(&state)), "`params.requestState`");
    refused(&call("test_ask", "bent", word(1, "a"), Some(&state)), "`params.requestState`");
    // Answers nobody asked for, and answers that are none.
    asks(&call("test_ask_write", "bent", word(1, "a"), None), &["word1"]);
    refused(&call("test_ask_write", "bent", json!({"word1": 12345}), Some(&state)), "`params.inputResponses.word1`");
    let mismatch = json!({"word1": {"action": "accept", "content": {"word": 5}}});
    refused(&call("test_ask_write", "bent", mismatch, Some(&state)), "`content.word`");
    for broken in [json!([]), json!(5), json!("null")] {
        refused(&call("test_ask_write", "bent", broken, None), "`params.inputResponses`");
    }
    assert_eq!(shared.runs("test_ask_write", "bent"), 0);
    // What reads takes answers in advance.
    let read = call("test_ask", "bent", word(1, "a"), None);
    assert_eq!(read.result()["structuredContent"]["words"], json!(["a"]));
    let expired = eventually(LIMIT, "the state expires", || {
        let answer = call("test_ask_write", "bent", json!({"word1": 12345}), Some(&state));
        answer.message["error"]["message"].as_str().filter(|text| text.contains("expired")).map(str::to_owned)
    });
    assert!(expired.contains("tools.ask_timeout_s"), "{expired}");
}

#[test]
fn a_round_that_did_nothing_may_be_sent_again_and_a_lost_answer_is_repeated() {
    let shared = Shared::new();
    let server = shared.instance(2).start();
    let again = json!({"key": "again", "fail": "again"});
    let call = |responses: Value, state: Option<&str>| {
        send(&server, &round("test_ask_write", again.clone(), responses, state))
    };
    let state = asks(&call(json!(null), None), &["word1"]);
    assert_eq!(call(word(1, "a"), Some(&state)).result()["isError"], true);
    assert_eq!(call(word(1, "a"), Some(&state)).result()["structuredContent"]["count"], 2);
    refused(&call(word(1, "a"), Some(&state)), "used before");

    let call = |responses: Value, state: Option<&str>| {
        let request = round("test_ask_write", json!({"key": "lost"}), responses, state);
        send(&server, &request.header("Idempotency-Key", "one-write"))
    };
    let state = asks(&call(json!(null), None), &["word1"]);
    refused(&call(json!({"word1": 5}), Some(&state)), "`params.inputResponses.word1`");
    let first = call(word(1, "a"), Some(&state));
    let repeated = call(word(1, "a"), Some(&state));
    assert_eq!(repeated.result()["structuredContent"], first.result()["structuredContent"]);
    assert_eq!(shared.runs("test_ask_write", "lost"), 1);
}

#[test]
fn what_a_client_answers_is_not_shared_through_the_cache() {
    let shared = Shared::new();
    let server = shared.instance(1).start();
    for text in ["a", "b"] {
        let state = asks(&send(&server, &round("test_ask_kept", json!({"key": "k"}), json!(null), None)), &["word1"]);
        let done = send(&server, &round("test_ask_kept", json!({"key": "k"}), word(1, text), Some(&state)));
        assert_eq!(done.result()["structuredContent"]["words"], json!([text]));
    }
    // A client that cannot be asked is told what it lacks.
    let params = json!({"name": "test_ask_kept", "arguments": {"key": "k"}});
    let answer = send(&server, &modern_as(json!(1), &json!({}), "tools/call", params));
    assert_eq!((answer.status, answer.error_code()), (400, Some(-32021)), "{}", answer.message);
}

const OPEN: &str = "# Tasks\n\n- [x] 1.1 Done\n- [ ] 1.2 Left\n- [ ] 1.3 Also left\n";

fn archive(slug: &str, responses: Value, state: Option<&str>) -> Request {
    round("change.archive", json!({"slug": slug}), responses, state)
}

fn archive_it(yes: bool) -> Value {
    json!({"archive": {"action": "accept", "content": {"archive": yes}}})
}

#[test]
fn an_archive_with_open_tasks_asks_and_is_done_by_another_instance() {
    let cluster = Cluster::start(2);
    let [one, other] = cluster.servers() else { panic!("two instances") };
    let tree = cluster.tree();
    let tasks = "openspec/changes/half-done/tasks.md";
    tree.add_ready_change("half-done");
    tree.write(tasks, OPEN);
    let asked = send(one, &archive("half-done", json!(null), None));
    let state = asks(&asked, &["archive"]);
    let message = asked.result()["inputRequests"]["archive"]["params"]["message"].as_str().unwrap();
    assert!(message.contains("2 open task(s) of 3") && message.contains("1.2 Left"), "{message}");
    // The user does not want it.
    for no in [archive_it(false), json!({"archive": {"action": "decline"}}), json!({"archive": {"action": "cancel"}})] {
        let state = asks(&send(one, &archive("half-done", json!(null), None)), &["archive"]);
        let answer = send(other, &archive("half-done", no, Some(&state)));
        let text = answer.result()["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("EOPENTASKS") && text.contains("the user does not want"), "{text}");
    }
    // The tasks change between question and answer: the answer is to another question.
    tree.write(tasks, &OPEN.replace("Also left", "Something else"));
    let state = asks(&send(other, &archive("half-done", archive_it(true), Some(&state))), &["archive"]);
    assert_eq!(tree.archived("half-done"), None);
    let done = send(one, &archive("half-done", archive_it(true), Some(&state)));
    assert_eq!(done.result()["structuredContent"]["alreadyArchived"], false, "{}", done.message);
    assert!(tree.archived("half-done").is_some());
    // A lost answer strands nobody.
    let repeated = send(other, &archive("half-done", archive_it(true), Some(&state)));
    assert_eq!(repeated.result()["structuredContent"]["alreadyArchived"], true, "{}", repeated.message);
}

#[test]
fn who_cannot_be_asked_is_told_of_the_argument() {
    let tree = Tree::new();
    tree.add_ready_change("half-done");
    tree.write("openspec/changes/half-done/tasks.md", OPEN);
    let server = Server::build(tree.root()).start();
    let arguments = |allow: Value| json!({"slug": "half-done", "allowOpenTasks": allow});
    let cannot = modern_as(
        json!(1),
        &json!({}),
        "tools/call",
        json!({"name": "change.archive", "arguments": {"slug": "half-done"}}),
    );
    let said_no = round("change.archive", arguments(json!(false)), json!(null), None);
    for request in [cannot, said_no] {
        let answer = send(&server, &request);
        let text = answer.result()["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("EOPENTASKS") && text.contains("allowOpenTasks"), "{text}");
    }
    let done = send(&server, &round("change.archive", arguments(json!(true)), json!(null), None));
    assert_eq!(done.result()["structuredContent"]["archived"], true);
}

/// A legacy session of a client that can be asked.
struct Asked<'a> {
    server: &'a Server,
    id: String,
}

impl<'a> Asked<'a> {
    fn open(server: &'a Server) -> Self {
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "e2e", "version": "1"},
        }});
        let answer = server.send(&Request::post_json("/mcp", hello.to_string()));
        Self { server, id: answer.header("mcp-session-id").expect("a session").to_owned() }
    }

    fn request(&self, message: &Value) -> Request {
        Request::post_json("/mcp", message.to_string())
            .header("MCP-Protocol-Version", "2025-11-25")
            .header("Mcp-Session-Id", &self.id)
    }

    /// Calls a tool over a stream of its own, and the first question on it.
    fn call(&self, tool: &str, arguments: Value) -> (Stream, Value) {
        let message = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments}});
        let mut stream = Stream::open(self.server.address(), &self.request(&message));
        let question = stream.messages(1)[0].clone();
        (stream, question)
    }

    /// Answers a question at `server`, over a connection of its own: the status.
    fn answer(&self, server: &Server, id: &Value, result: Value) -> Answer {
        let message = json!({"jsonrpc": "2.0", "id": id, "result": result});
        Answer::new(server.send(&self.request(&message)))
    }
}

#[test]
fn the_answer_to_a_question_on_a_stream_may_reach_any_worker_of_any_instance() {
    let cluster = Cluster::start(3);
    let [one, other] = cluster.servers() else { panic!("two instances") };
    let session = Asked::open(one);
    let (mut stream, question) = session.call("test_ask_write", json!({"key": "legacy", "rounds": 2}));
    assert_eq!(question["method"], "elicitation/create", "{question}");
    assert_eq!(question["params"]["message"], "Word 1?");
    let first = json!({"action": "accept", "content": {"word": "a"}});
    let taken = session.answer(other, &question["id"], first.clone());
    assert_eq!((taken.status, taken.response.body.len()), (202, 0), "{}", taken.message);
    // Another answer to the same question is too late, whatever it says.
    let twice = session.answer(one, &question["id"], json!({"action": "decline"}));
    assert_eq!(twice.status, 202);
    let second = stream.messages(2)[1].clone();
    assert_ne!(second["id"], question["id"]);
    session.answer(other, &second["id"], json!({"action": "accept", "content": {"word": "b"}}));
    let result = stream.rest().pop().unwrap();
    assert_eq!(result["result"]["structuredContent"]["words"], json!(["a", "b"]), "{result}");

    // Questions of another session, and ids that nobody made.
    let stranger = Asked::open(other);
    for id in [&second["id"], &json!("q1"), &json!("elicit-1"), &json!(7), &json!(null)] {
        let answer = stranger.answer(one, id, first.clone());
        assert_eq!((answer.status, answer.error_code()), (400, Some(-32600)), "{id}: {}", answer.message);
    }
    let unknown = Asked { server: one, id: "x".repeat(40) };
    assert_eq!(unknown.answer(one, &second["id"], first).status, 404);
}

#[test]
fn a_question_that_is_not_answered_in_time_is_cancelled_and_the_call_told_so() {
    let shared = Shared::new();
    let server = shared.instance(1).set("tools.ask_timeout_s", 1).start();
    let session = Asked::open(&server);
    for tool in ["test_ask", "test_ask_write"] {
        let (stream, question) = session.call(tool, json!({"key": "late"}));
        let messages = stream.rest();
        let cancelled = messages.iter().find(|message| message["method"] == "notifications/cancelled");
        assert_eq!(cancelled.unwrap()["params"]["requestId"], question["id"], "{messages:?}");
        let result = &messages.last().unwrap()["result"];
        assert_eq!(result["isError"], true, "{result}");
        assert!(result["content"][0]["text"].as_str().unwrap().contains("did not answer in time"), "{result}");
        let late = session.answer(&server, &question["id"], json!({"action": "decline"}));
        assert_eq!(late.status, 202, "it was asked, and nobody waits any more");
    }
    assert_eq!(shared.runs("test_ask_write", "late"), 0);
    let metrics = server.metrics();
    for (outcome, count) in [("asked", 2.0), ("unanswered", 2.0), ("answered", 0.0)] {
        assert_eq!(metrics.sum("task_mcp_questions_total", &[("outcome", outcome)]), count, "{outcome}");
    }
}

#[test]
fn a_read_may_wait_for_its_client_longer_than_for_itself() {
    let shared = Shared::new();
    let server = shared.instance(1).set("tools.deadline_ms", 300).start();
    let session = Asked::open(&server);
    let (stream, question) = session.call("test_ask", json!({"key": "slow"}));
    std::thread::sleep(Duration::from_millis(900));
    session.answer(&server, &question["id"], json!({"action": "accept", "content": {"word": "a"}}));
    let result = stream.rest().pop().unwrap();
    assert_eq!(result["result"]["structuredContent"]["words"], json!(["a"]), "{result}");
}

#[test]
fn what_a_client_refuses_or_gets_wrong_ends_the_call_with_what_it_said() {
    let shared = Shared::new();
    let server = shared.instance(1).start();
    let session = Asked::open(&server);
    let (stream, question) = session.call("test_ask_write", json!({"key": "no"}));
    let message = json!({"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "nobody is here"}});
    assert_eq!(server.send(&session.request(&message)).status, 202);
    let result = stream.rest().pop().unwrap();
    assert!(result["result"]["content"][0]["text"].as_str().unwrap().contains("nobody is here"), "{result}");
    let (stream, question) = session.call("test_ask_write", json!({"key": "no"}));
    session.answer(&server, &question["id"], json!({"action": "accept", "content": {"word": 5}}));
    let result = stream.rest().pop().unwrap();
    assert!(result["result"]["content"][0]["text"].as_str().unwrap().contains("`content.word`"), "{result}");
    assert_eq!(shared.runs("test_ask_write", "no"), 0);
    // A client that takes no events cannot be sent a question.
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": {"name": "test_ask", "arguments": {"key": "no"}}});
    let request = session.request(&call).without("Accept").header("Accept", "application/json");
    let answer = Answer::new(server.send(&request));
    assert_eq!(answer.error_code(), Some(-32021), "{}", answer.message);
}

#[test]
fn an_answer_for_a_worker_that_died_is_taken_and_the_call_is_not_done() {
    let shared = Shared::new();
    let server = shared.instance(1).start();
    let session = Asked::open(&server);
    let (_stream, question) = session.call("test_ask_write", json!({"key": "killed"}));
    let killed = server.kill_worker();
    server.wait_workers(1, &[killed]);
    let answer = json!({"action": "accept", "content": {"word": "a"}});
    assert_eq!(session.answer(&server, &question["id"], answer.clone()).status, 202);
    assert_eq!(shared.runs("test_ask_write", "killed"), 0);
    // The session goes on.
    let (stream, question) = session.call("test_ask_write", json!({"key": "killed"}));
    session.answer(&server, &question["id"], answer);
    assert_eq!(stream.rest().pop().unwrap()["result"]["structuredContent"]["count"], 1);
}

#[test]
fn what_is_no_result_leaves_a_question_open() {
    let shared = Shared::new();
    let server = shared.instance(2).start();
    let session = Asked::open(&server);
    let (stream, question) = session.call("test_ask_write", json!({"key": "form"}));
    let id = &question["id"];
    for none in [json!(5), json!([]), json!("accept"), json!(true)] {
        let answer = session.answer(&server, id, none.clone());
        assert_eq!((answer.status, answer.error_code()), (400, Some(-32600)), "{none}: {}", answer.message);
        let text = answer.message["error"]["message"].as_str().unwrap();
        assert!(text.contains("`result`"), "{text}");
    }
    for none in [json!(5), json!({}), json!({"code": "x", "message": "y"}), json!({"code": 1})] {
        let message = json!({"jsonrpc": "2.0", "id": id, "error": none});
        let answer = Answer::new(server.send(&session.request(&message)));
        assert_eq!((answer.status, answer.error_code()), (400, Some(-32600)), "{none}: {}", answer.message);
        assert!(answer.message["error"]["message"].as_str().unwrap().contains("`error`"), "{}", answer.message);
    }
    let taken = session.answer(&server, id, json!({"action": "accept", "content": {"word": "a"}}));
    assert_eq!(taken.status, 202);
    let result = stream.rest().pop().unwrap();
    assert_eq!(result["result"]["structuredContent"]["words"], json!(["a"]), "{result}");
}

#[test]
fn a_question_holds_no_worker_that_leaves_and_nothing_is_done() {
    let tree = Tree::new();
    tree.add_ready_change("half-done");
    tree.write("openspec/changes/half-done/tasks.md", OPEN);
    let server = Server::build(tree.root()).set("server.workers", 1).start();
    let session = Asked::open(&server);
    let begun = Instant::now();
    let (stream, question) = session.call("change.archive", json!({"slug": "half-done"}));
    assert_eq!(question["method"], "elicitation/create", "{question}");
    Control::new(&server).restart();
    assert!(begun.elapsed() < Duration::from_secs(15), "nobody waits for the client: {:?}", begun.elapsed());
    let messages = stream.rest();
    let cancelled = messages.iter().find(|message| message["method"] == "notifications/cancelled");
    assert_eq!(cancelled.unwrap()["params"]["requestId"], question["id"], "{messages:?}");
    let result = &messages.last().unwrap()["result"];
    let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{messages:?}"));
    assert!(text.contains("UNANSWERABLE") && text.contains("the server stops; nothing was done"), "{text}");
    assert_eq!(tree.archived("half-done"), None);
    // The session goes on, and the next server stops as quickly.
    let (_stream, question) = session.call("change.archive", json!({"slug": "half-done"}));
    assert_eq!(question["method"], "elicitation/create", "{question}");
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(15)), 0, "nothing is cut");
    assert_eq!(tree.archived("half-done"), None);
}

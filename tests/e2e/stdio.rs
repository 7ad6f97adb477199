//! MCP over standard input and output.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{META, Signal, Tree, eventually, program, run_alone, signal};

/// What no answer takes on a machine that does other things beside it.
const LIMIT: Duration = Duration::from_secs(20);

/// The fixture's program over a tree, as its client sees it.
struct Client {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Client {
    fn start(tree: &Tree, set: &[&str]) -> Self {
        let mut command = program(true, tree.root());
        command.arg("stdio").arg("--root").arg(tree.root());
        for one in set {
            command.args(["--set", one]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (told, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        let input = child.stdin.take();
        Self { child, input, lines }
    }

    fn send(&mut self, line: impl AsRef<[u8]>) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(&[line.as_ref(), b"\n"].concat()).expect("the program reads");
    }

    fn ask(&mut self, id: Value, method: &str, params: Value) {
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
    }

    /// The same of a client of 2026-07-28.
    fn ask_modern(&mut self, id: Value, method: &str, mut params: Value) {
        params["_meta"][format!("{META}/protocolVersion")] = json!("2026-07-28");
        params["_meta"][format!("{META}/clientCapabilities")] = json!({});
        self.ask(id, method, params);
    }

    fn note(&mut self, method: &str, params: Value) {
        self.send(json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string());
    }

    /// The next line, which is a message.
    #[track_caller]
    fn next(&mut self) -> Value {
        let line = self.lines.recv_timeout(LIMIT).expect("a line in time");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The answer to a request, and what was told before it.
    #[track_caller]
    fn answer(&mut self, id: &Value) -> (Value, Vec<Value>) {
        let mut before = Vec::new();
        loop {
            let message = self.next();
            if message.get("id") == Some(id) && message.get("method").is_none() {
                return (message, before);
            }
            before.push(message);
        }
    }

    #[track_caller]
    fn initialize(&mut self, revision: &str, capabilities: Value) {
        let params = json!({"protocolVersion": revision, "capabilities": capabilities, "clientInfo": {"name": "test", "version": "1"}});
        self.ask(json!("hello"), "initialize", params);
        let (answer, _) = self.answer(&json!("hello"));
        assert_eq!(answer["result"]["protocolVersion"], revision, "{answer}");
        self.note("notifications/initialized", json!({}));
    }

    /// Waits for the end of the program: its exit code, and what it told until then.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, Vec<Value>) {
        self.input = None;
        let status = eventually(LIMIT, "the program ends", || self.child.try_wait().expect("it is our child"));
        let told = self.lines.iter().map(|line| serde_json::from_str(&line).expect("a message")).collect();
        (status.code(), told)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn call(tool: &str, arguments: Value) -> Value {
    json!({"name": tool, "arguments": arguments})
}

#[test]
fn both_eras_are_spoken_at_the_same_time() {
    let tree = Tree::new();
    tree.add_ready_change("prepared");
    let mut client = Client::start(&tree, &[]);
    client.ask_modern(json!(0), "server/discover", json!({}));
    assert_eq!(client.answer(&json!(0)).0["result"]["resultType"], "complete");
    client.initialize("2025-11-25", json!({}));
    client.ask(json!(1), "tools/call", call("changes.active", json!({})));
    let (old, _) = client.answer(&json!(1));
    assert_eq!((&old["result"]["structuredContent"]["total"], old["result"].get("resultType")), (&json!(1), None));
    client.ask_modern(json!("1"), "resources/read", json!({"uri": "change://prepared/tasks"}));
    let (new, _) = client.answer(&json!("1"));
    assert_eq!((&new["result"]["resultType"], &new["result"]["cacheScope"]), (&json!("complete"), &json!("private")));
    client.ask_modern(json!(2), "ping", json!({}));
    assert_eq!(client.answer(&json!(2)).0["error"]["code"], -32601, "the new era has no ping");
    client.ask(json!(2), "ping", json!({}));
    assert_eq!(client.answer(&json!(2)).0["result"], json!({}));
    assert_eq!(client.end(), (Some(0), vec![]));
}

#[test]
fn a_bad_line_is_told_and_the_next_one_is_served() {
    let tree = Tree::new();
    let mut client = Client::start(&tree, &["limits.body_bytes=4096", "limits.json_depth=32"]);
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{{\"a\":{}{}}}}}",
        "[".repeat(40),
        "]".repeat(40)
    );
    let bad: [(&[u8], i32); 9] = [
        (b"nonsense", -32700),
        (b"{\"jsonrpc\":\"2.0\",", -32700),
        (b"\xff\xfe{}", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\xffng\"}", -32700),
        (deep.as_bytes(), -32700),
        (&[b'x'; 5000], -32600),
        (b"{\"id\":1,\"method\":\"ping\"}", -32600),
        (b"[]", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":\"q1\",\"result\":{}}", -32600),
    ];
    for (line, code) in bad {
        client.send(line);
        let told = client.next();
        assert_eq!(told["error"]["code"], code, "{}: {told}", String::from_utf8_lossy(line));
        client.send("");
        client.ask(json!(7), "ping", json!({}));
        assert_eq!(client.next(), json!({"jsonrpc": "2.0", "id": 7, "result": {}}));
    }
    assert_eq!(client.end(), (Some(0), vec![]));
}

#[test]
fn what_a_call_tells_comes_before_its_answer() {
    let tree = Tree::new();
    let mut client = Client::start(&tree, &[]);
    client.initialize("2025-11-25", json!({}));
    let mut params = call("test_tool_with_progress", json!({}));
    params["_meta"] = json!({"progressToken": "p"});
    client.ask(json!(1), "tools/call", params);
    let (_, before) = client.answer(&json!(1));
    let told = before.iter().filter(|message| message["method"] == "notifications/progress");
    let progress: Vec<&Value> = told.map(|message| &message["params"]["progress"]).collect();
    assert_eq!(progress, [0, 50, 100], "{before:?}");
    let logged = |client: &mut Client, id: u64| {
        client.ask(json!(id), "tools/call", call("test_tool_with_logging", json!({})));
        client.answer(&json!(id)).1.iter().filter(|message| message["method"] == "notifications/message").count()
    };
    assert_eq!(logged(&mut client, 2), 0, "nobody asked for messages");
    client.ask(json!(3), "logging/setLevel", json!({"level": "debug"}));
    assert_eq!(client.answer(&json!(3)).0["result"], json!({}));
    assert_eq!(logged(&mut client, 4), 3);
}

#[test]
fn a_question_is_answered_on_standard_input() {
    let tree = Tree::new();
    let mut client = Client::start(&tree, &[]);
    client.initialize("2025-11-25", json!({"elicitation": {}}));
    client.ask(json!(1), "tools/call", call("test_elicitation", json!({"message": "Who?"})));
    let question = client.next();
    assert_eq!(question["method"], "elicitation/create", "{question}");
    let content = json!({"username": "ada", "email": "ada@example.com"});
    client.send(
        json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": content}}).to_string(),
    );
    let (answer, _) = client.answer(&json!(1));
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("ada"), "{answer}");
}

#[test]
fn calls_that_wait_for_their_client_keep_nothing_else_waiting_and_end_with_the_input() {
    const CALLS: usize = 70; // more than may run at the same time
    let tree = Tree::new();
    // Longer than this test waits.
    let mut client = Client::start(&tree, &["supervisor.drain_timeout_s=60"]);
    client.initialize("2025-11-25", json!({"elicitation": {}}));
    for id in 0..CALLS {
        client.ask(json!(id), "tools/call", call("test_elicitation", json!({"message": "Who?"})));
    }
    for _ in 0..CALLS {
        assert_eq!(client.next()["method"], "elicitation/create");
    }
    client.ask(json!("ping"), "ping", json!({}));
    client.answer(&json!("ping"));
    client.ask(json!("read"), "tools/call", call("changes.active", json!({})));
    assert_eq!(client.answer(&json!("read")).0["result"]["isError"], false);
    let (code, told) = client.end();
    let answered = told.iter().filter(|message| message.get("id").is_some() && message.get("method").is_none());
    assert_eq!((code, answered.count()), (Some(0), CALLS), "{told:?}");
}

#[test]
fn requests_run_side_by_side_and_a_cancelled_one_is_never_answered() {
    let tree = Tree::new();
    let mut client = Client::start(&tree, &[]);
    client.ask_modern(json!("slow"), "tools/call", call("test_sleep", json!({"ms": 15_000})));
    client.ask_modern(json!(1), "tools/call", call("test_sleep", json!({"ms": 300})));
    client.ask_modern(json!(2), "tools/call", call("test_sleep", json!({"ms": 1})));
    assert_eq!((client.next()["id"].take(), client.next()["id"].take()), (json!(2), json!(1)), "the quicker one first");
    client.note("notifications/cancelled", json!({"requestId": "slow", "reason": "enough"}));
    client.note("notifications/cancelled", json!({"requestId": "unknown"}));
    let before = Instant::now();
    assert_eq!(client.end(), (Some(0), vec![]));
    assert!(before.elapsed() < Duration::from_secs(10), "nothing was waited for");
}

#[test]
fn a_write_is_finished_and_answered_after_the_end_of_the_input() {
    let tree = Tree::new();
    let mut client = Client::start(&tree, &["supervisor.drain_timeout_s=2"]);
    client.ask_modern(json!("read"), "tools/call", call("test_sleep", json!({"ms": 15_000})));
    client.ask_modern(json!("write"), "tools/call", call("test_sleep_write", json!({"ms": 4_000})));
    let (code, told) = client.end();
    assert_eq!((code, told.len()), (Some(0), 2), "{told:?}");
    let of = |id: &str| told.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("{id}: {told:?}"));
    assert!(of("read").to_string().contains("SERVER_SHUTTING_DOWN"), "a read has the time of a drain: {told:?}");
    assert_eq!(of("write")["result"]["structuredContent"]["slept_ms"], 4_000);
}

#[test]
fn a_client_that_is_told_to_stop_hears_the_end_of_its_streams() {
    let tree = Tree::new();
    let mut client = Client::start(&tree, &[]);
    client.ask_modern(json!(5), "subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
    assert_eq!(client.next()["method"], "notifications/subscriptions/acknowledged");
    signal(client.child.id().try_into().unwrap(), Signal::SIGTERM);
    assert_eq!(client.answer(&json!(5)).0["result"]["resultType"], "complete");
    assert_eq!(
        client.next(),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}})
    );
    assert_eq!(client.end(), (Some(0), vec![]));
}

#[test]
fn what_others_change_is_told() {
    let tree = Tree::new();
    tree.add_ready_change("prepared");
    let mut client = Client::start(&tree, &[]);
    client.initialize("2025-11-25", json!({}));
    client.ask(json!(1), "resources/subscribe", json!({"uri": "changes://active"}));
    assert_eq!(client.answer(&json!(1)).0["result"], json!({}));
    let listen = json!({"notifications": {"resourceSubscriptions": ["changes://active"]}});
    client.ask_modern(json!("l"), "subscriptions/listen", listen);
    while client.next()["method"] != "notifications/subscriptions/acknowledged" {}
    let opened = run_alone(tree.root(), &["call", "change.open", r#"{"slug":"by-another","title":"Another"}"#]);
    assert_eq!(opened.code, 0, "{opened:?}");
    let (mut unasked, mut listened) = (false, false);
    while !(unasked && listened) {
        let told = client.next();
        if told["method"] == "notifications/resources/updated" {
            assert_eq!(told["params"]["uri"], "changes://active");
            match told["params"]["_meta"][format!("{META}/subscriptionId")].as_str() {
                Some(id) => listened |= id == "l",
                None => unasked = true,
            }
        }
    }
}

#[test]
fn a_batch_is_for_the_revision_that_has_batches() {
    let tree = Tree::new();
    let mut client = Client::start(&tree, &[]);
    let batch =
        json!([{"jsonrpc": "2.0", "id": 1, "method": "ping"}, 7, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}]);
    client.send(batch.to_string());
    assert_eq!(client.next()["error"]["code"], -32600);
    client.initialize("2025-03-26", json!({}));
    client.send(batch.to_string());
    let answers = client.next();
    let ids: Vec<Value> = answers.as_array().unwrap().iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, [json!(1), Value::Null, json!(2)], "{answers}");
}

#[test]
fn more_requests_than_may_wait_are_refused_and_those_that_wait_are_served() {
    let tree = Tree::new();
    let mut client = Client::start(&tree, &["tools.concurrency=1000"]);
    for id in 0..300 {
        client.ask_modern(json!(id), "tools/call", call("test_sleep", json!({"ms": 200})));
    }
    let (mut served, mut refused) = (0, 0);
    for _ in 0..300 {
        let answer = client.next();
        match answer["error"]["code"].as_i64() {
            None => served += 1,
            Some(code) => {
                assert_eq!(code, -32000, "{answer}");
                refused += 1;
            }
        }
    }
    assert!(served >= 256 && refused > 0, "{served} were served, {refused} refused");
    assert_eq!(client.end(), (Some(0), vec![]));
}

#[test]
fn a_program_whose_output_nobody_reads_ends() {
    let tree = Tree::new();
    let mut command = program(true, tree.root());
    command.arg("stdio").arg("--root").arg(tree.root());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    drop(child.stdout.take());
    input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").unwrap();
    let status = eventually(LIMIT, "the program ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

/// A program that waits for its client to read: pipe and queue of its output are full. `first` is sent before.
fn clogged(tree: &Tree, first: &[u8]) -> (Child, ChildStdin) {
    let mut command = program(true, tree.root());
    command.arg("stdio").arg("--root").arg(tree.root()).args(["--set", "supervisor.drain_timeout_s=600"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(first).unwrap();
    // More answers than pipe and queue hold, but not more lines than are read ahead or fit into the pipe.
    input.write_all("x\n".repeat(20_000).as_bytes()).unwrap();
    let (output, mut waiting) = (child.stdout.as_ref().unwrap(), 0);
    eventually(LIMIT, "the output is full", || {
        thread::sleep(Duration::from_millis(100));
        let before = std::mem::replace(&mut waiting, rustix::io::ioctl_fionread(output).unwrap());
        (waiting > 32_768 && waiting == before).then_some(())
    });
    (child, input)
}

#[test]
fn a_program_whose_output_is_full_ends_when_it_is_told_to() {
    for told in [Signal::SIGTERM, Signal::SIGINT] {
        let tree = Tree::new();
        let (mut child, _input) = clogged(&tree, b"");
        signal(child.id().try_into().unwrap(), told);
        assert_eq!(eventually(LIMIT, "the program ends", || child.try_wait().unwrap()).code(), Some(0));
    }
}

#[test]
fn whoever_tells_it_twice_does_not_wait_for_what_is_under_way() {
    let tree = Tree::new();
    let meta = json!({format!("{META}/protocolVersion"): "2026-07-28", format!("{META}/clientCapabilities"): {}});
    let params = json!({"name": "test_sleep_write", "arguments": {"ms": 15_000}, "_meta": meta});
    let slow = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let (mut child, _input) = clogged(&tree, format!("{slow}\n").as_bytes());
    let before = Instant::now();
    // It may not have seen the first one when the second one comes, and then they are one.
    let status = eventually(LIMIT, "the program ends", || {
        signal(child.id().try_into().unwrap(), Signal::SIGTERM);
        child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(75));
    assert!(before.elapsed() < Duration::from_secs(10), "nothing was waited for");
}

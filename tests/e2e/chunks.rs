//! Results that are told while they are made, in every dialect, and what a client that reads slowly costs.

use std::{fs, os::unix::fs::MetadataExt as _, thread, time::Duration};

use serde_json::{Value, json};
use task_mcp_bench::Request;

use crate::support::{Events, META, Server, Session, Tree, eventually, modern_call, sized};

/// Bytes of a text that is larger than what any buffer on the way holds.
const LARGE: u64 = 1_000_000;

fn server(tree: &Tree) -> Server {
    Server::build(tree.root()).fixture().set("server.workers", 1).set("limits.response_bytes", 4_000_000).start()
}

fn plain(path: &str, tool: &str, input: Value) -> Request {
    let accept = if path == "/sse" { "text/event-stream" } else { "application/x-ndjson" };
    Request::post_json(path, json!({"tool": tool, "input": input}).to_string()).header("Accept", accept)
}

/// A call whose client wants to hear of progress.
fn with_progress(tool: &str, arguments: Value) -> Request {
    let params = json!({
        "name": tool, "arguments": arguments,
        "_meta": {
            "progressToken": "p",
            format!("{META}/protocolVersion"): "2026-07-28",
            format!("{META}/clientCapabilities"): {},
        },
    });
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
    let request = Request::post_json("/mcp", body.to_string()).header("MCP-Protocol-Version", "2026-07-28");
    request.header("Mcp-Method", "tools/call").header("Mcp-Name", tool)
}

fn text_of(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

#[test]
fn the_plain_dialect_tells_pieces_before_the_result() {
    let tree = Tree::new();
    let server = server(&tree);
    let input = json!({"bytes": LARGE, "chunk_bytes": 10_001});
    let mut events = Events::open(&server, &plain("/sse", "test_stream", input.clone()));
    let (mut text, mut last) = (String::new(), Value::Null);
    while let Some(event) = events.next() {
        let data: Value = serde_json::from_str(&event.data).unwrap();
        match data.get("chunk").and_then(Value::as_str) {
            Some(chunk) => {
                assert_eq!((&data["apiVersion"], &data["tool"]), (&json!("1.0.0"), &json!("test_stream")));
                text.push_str(chunk);
            }
            None => last = data,
        }
    }
    assert_eq!((text.len() as u64, last["result"]["structuredContent"]["pieces"].as_u64()), (LARGE, Some(100)));

    let answer = server.send(&plain("/mcp", "test_stream", input));
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: String = lines.iter().filter_map(|line| line["chunk"].as_str()).collect();
    assert_eq!(told, text);
    let types: Vec<&str> = lines.iter().filter_map(|line| line["type"].as_str()).collect();
    assert_eq!((types[0], types[1], &types[types.len() - 2..]), ("start", "chunk", ["result", "end"].as_slice()));
    assert!(lines.iter().all(|line| line["type"] != "chunk" || line["ts"].is_u64()));
}

#[test]
fn a_result_is_written_as_its_text_comes() {
    let tree = Tree::new();
    let server = server(&tree);
    let arguments = json!({"bytes": LARGE, "chunk_bytes": 10_001});
    for accept in ["application/json", "application/json, text/event-stream"] {
        let answer = server.send(&modern_call("test_stream", arguments.clone()).header("Accept", accept));
        let message: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{accept}: no object"));
        let result = &message["result"];
        assert_eq!((&message["id"], text_of(result).len() as u64), (&json!(7), LARGE));
        assert_eq!((&result["resultType"], &result["isError"]), (&json!("complete"), &json!(false)));
        assert_eq!(result["structuredContent"], json!({"bytes": LARGE, "pieces": 100}));
        assert!(result["_meta"].is_object());
    }
    // What breaks off is an error, with what there was.
    let failed = server.send(&modern_call("test_stream", json!({"bytes": 1_000, "chunk_bytes": 100, "fail": true})));
    let result: Value = serde_json::from_slice::<Value>(&failed.body).unwrap()["result"].take();
    assert_eq!((&result["isError"], text_of(&result).len()), (&json!(true), 1_000));
    assert!(result["content"][1]["text"].as_str().unwrap().contains("ETEST"));
}

#[test]
fn progress_carries_the_pieces_and_the_result_the_whole_if_it_may() {
    let tree = Tree::new();
    let server = server(&tree);
    for (bytes, is_whole) in [(LARGE, true), (5_000_000, false)] {
        let request = with_progress("test_stream", json!({"bytes": bytes, "chunk_bytes": 50_000}));
        let mut events = Events::open(&server, &request);
        assert!(events.head().contains("x-accel-buffering: no"));
        let (mut text, mut before) = (String::new(), 0);
        let result = loop {
            let mut message = events.message();
            if message["method"] != "notifications/progress" {
                break message["result"].take();
            }
            let params = &message["params"];
            text.push_str(params["message"].as_str().unwrap());
            let progress = params["progress"].as_u64().unwrap();
            assert!(progress > before && progress == text.len() as u64 && params["progressToken"] == "p");
            before = progress;
        };
        assert_eq!(text.len() as u64, bytes);
        assert_eq!(text_of(&result) == text, is_whole);
        assert!(is_whole || text_of(&result).contains("5000000 bytes"), "{}", text_of(&result));
        assert_eq!(result["structuredContent"]["bytes"], bytes);
        assert_eq!(events.next(), None);
    }
}

#[test]
fn what_is_kept_for_others_never_comes_in_pieces() {
    let tree = Tree::new();
    let server = server(&tree);
    let answer = server.send(&modern_call("test_stream_cached", json!({"bytes": 100})));
    let result: Value = serde_json::from_slice::<Value>(&answer.body).unwrap()["result"].take();
    assert_eq!(result["isError"], true, "{result}");
    assert!(answer.header("content-length").is_some(), "one object of a known length");
}

#[test]
fn a_slow_reader_of_a_large_result_costs_no_memory() {
    let tree = Tree::new();
    let bytes: u64 = sized(60, 200) << 20;
    // The text takes longer to be read than a call may take: the time of the reader does not count.
    let server = Server::build(tree.root())
        .fixture()
        .set("server.workers", 1)
        .set("tools.deadline_ms", 5_000)
        .set("limits.stream_buffer_bytes", 1 << 20)
        .start();
    let arguments = json!({"bytes": bytes, "chunk_bytes": 64 << 10});
    // The first call takes what a worker needs at all.
    server.send(&modern_call("test_stream", json!({"bytes": 1 << 20, "chunk_bytes": 64 << 10})));
    let before = resident_bytes(&server);
    let mut readers = [
        Events::open(&server, &modern_call("test_stream", arguments.clone())),
        Events::open(&server, &with_progress("test_stream", arguments.clone())),
        Events::open(&server, &plain("/sse", "test_stream", arguments.clone())),
        Events::open(&server, &plain("/mcp", "test_stream", arguments)),
    ];
    thread::sleep(Duration::from_millis(6_000));
    let mut most = resident_bytes(&server);
    let (mut read, mut looked) = ([0_u64; 4], 0);
    for (reader, read) in readers.iter_mut().zip(&mut read) {
        loop {
            let some = reader.read_some() as u64;
            *read += some;
            if some == 0 {
                break;
            }
            if *read >> 22 != looked {
                looked = *read >> 22;
                most = most.max(resident_bytes(&server));
            }
        }
    }
    assert!(read.iter().all(|read| *read >= bytes), "all of it arrived: {read:?}");
    // Progress holds the text up to limits.response_bytes (1 MiB), each stream what waits for it.
    let grown = most.saturating_sub(before);
    assert!(grown < 24 << 20, "the worker grew by {} MiB", grown >> 20);
}

/// A call in a session; with a token its pieces come as progress.
fn in_session(session: &Session<'_>, id: &str, token: Option<&str>, arguments: &Value) -> Request {
    let mut params = json!({"name": "test_stream", "arguments": arguments});
    if let Some(token) = token {
        params["_meta"] = json!({"progressToken": token});
    }
    session.request(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string())
}

fn running(server: &Server, count: f64) {
    eventually(Duration::from_secs(10), &format!("{count} calls run"), || {
        (server.try_metrics()?.sum("task_mcp_tool_calls_running", &[("tool", "test_stream")]) == count).then_some(())
    });
}

#[test]
fn a_session_gets_its_pieces_as_fast_as_it_reads_and_nothing_is_held_for_it() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("server.workers", 1).start();
    let session = Session::open(&server, None);
    let bytes: u64 = sized(60, 200) << 20;
    let arguments = |bytes: u64| json!({"bytes": bytes, "chunk_bytes": 64 << 10});
    // The first call takes what a worker needs at all.
    server.send(&in_session(&session, "a", Some("p"), &arguments(1 << 20)));
    let (before, kept) = (resident_bytes(&server), disk_bytes(&server));
    let mut reader = Events::open(&server, &in_session(&session, "b", Some("p"), &arguments(bytes)));
    thread::sleep(Duration::from_secs(2));
    let grown = resident_bytes(&server).saturating_sub(before);
    assert!(grown < 16 << 20, "the worker grew by {} MiB while nobody read", grown >> 20);
    let (mut read, mut most) = (0_u64, 0);
    loop {
        let some = reader.read_some() as u64;
        if some == 0 {
            break;
        }
        if (read + some) >> 22 != read >> 22 {
            most = most.max(resident_bytes(&server).saturating_sub(before));
        }
        read += some;
    }
    assert!(read >= bytes, "all of it arrived: {read}");
    assert!(most < 24 << 20, "the worker grew by {} MiB", most >> 20);
    let kept = disk_bytes(&server).saturating_sub(kept);
    assert!(kept < 8 << 20, "{} MiB are kept of what nobody can fetch", kept >> 20);
    assert_eq!(server.metrics().sum("task_mcp_streams_cut_total", &[]), 0.0);
}

#[test]
fn a_session_that_leaves_its_pieces_ends_the_call_and_is_told_so() {
    let tree = Tree::new();
    let server = server(&tree);
    let session = Session::open(&server, None);
    let arguments = json!({"bytes": 1 << 30, "chunk_bytes": 64 << 10});
    for token in [Some("p"), None] {
        let mut reader = Events::open(&server, &in_session(&session, "a", token, &arguments));
        let priming = token.map(|_| reader.next().unwrap().id.unwrap());
        running(&server, 1.0);
        drop(reader);
        running(&server, 0.0);
        if let Some(last) = priming {
            let again = Request::new("GET", "/mcp")
                .header("Accept", "text/event-stream")
                .header("Mcp-Session-Id", session.id().unwrap())
                .header("Last-Event-ID", &last);
            let told = Events::open(&server, &again).rest();
            assert_eq!(told.len(), 1, "no piece is kept");
            assert_eq!((&told[0]["id"], told[0]["error"]["code"].as_i64()), (&json!("a"), Some(-32603)));
        }
    }
}

#[test]
fn who_cancels_a_result_that_is_being_written_ends_it_whether_he_reads_or_not() {
    let tree = Tree::new();
    let server = server(&tree);
    let session = Session::open(&server, None);
    let arguments = json!({"bytes": 1 << 30, "chunk_bytes": 64 << 10});
    for (token, accept) in [
        (None, "application/json, text/event-stream"),
        (None, "application/json"),
        (Some("p"), "application/json, text/event-stream"),
    ] {
        let request = in_session(&session, "c", token, &arguments).header("Accept", accept);
        let mut reader = Events::open(&server, &request);
        assert!(reader.read_some() > 0);
        running(&server, 1.0);
        for (id, count) in [("other", 1.0), ("c", 0.0)] {
            let params = json!({"requestId": id});
            let body = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
            assert_eq!(server.send(&session.request(&body.to_string())).status, 202);
            thread::sleep(Duration::from_millis(100));
            running(&server, count);
        }
        let mut read = 0;
        while let some @ 1.. = reader.read_some() {
            read += some;
        }
        assert!(read < 1 << 29, "{accept}: the rest never came");
    }
}

#[test]
fn a_reader_that_leaves_ends_the_call() {
    let tree = Tree::new();
    let server = server(&tree);
    let arguments = json!({"bytes": 1 << 30, "chunk_bytes": 64 << 10});
    let mut readers = vec![
        Events::open(&server, &modern_call("test_stream", arguments.clone())),
        Events::open(&server, &plain("/sse", "test_stream", arguments)),
    ];
    readers.iter_mut().for_each(|reader| assert!(reader.read_some() > 0));
    running(&server, 2.0);
    readers.clear();
    running(&server, 0.0);
}

/// Resident memory of the one worker (proc_pid_status(5), `VmRSS`).
fn resident_bytes(server: &Server) -> u64 {
    let pid = server.workers()[0].pid;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

/// What the state of the server takes on disk, in bytes.
fn disk_bytes(server: &Server) -> u64 {
    let mut folders = vec![server.folder().join("state")];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                // Its files have holes: blocks of 512 bytes are what they take (stat(2), `st_blocks`).
                Ok(data) => bytes += data.blocks() << 9,
                Err(_) => {}
            }
        }
    }
    bytes
}

//! What MCP demands of every message, and the conformance suite does not check: exact texts, ids, batches, statuses, headers that
//! disagree, bodies that are broken.

use std::thread;

use serde_json::{Value, json};
use task_mcp_bench::Request;

use crate::support::{Answer, META, Server, Session, Tree, modern, modern_as, modern_call};

fn with_fixture(test: impl FnOnce(&Server)) {
    let tree = Tree::new();
    tree.add_ready_change("prepared");
    test(&Server::build(tree.root()).fixture().start());
}

fn send(server: &Server, request: &Request) -> Answer {
    Answer::new(server.send(request))
}

/// One method of both eras, its parameters, a place in its result, and what must be there.
fn texts() -> Vec<(&'static str, Value, &'static str, Value)> {
    let call = |tool: &str| json!({"name": tool, "arguments": {}});
    let prompt =
        json!({"name": "test_prompt_with_arguments", "arguments": {"arg1": "testValue1", "arg2": "testValue2"}});
    let text = "/content/0/text";
    vec![
        ("tools/call", json!({"name": "test_simple_text"}), text, json!("This is a simple text response for testing.")),
        ("tools/call", call("test_simple_text"), "/content/0/type", json!("text")),
        ("tools/call", call("test_image_content"), "/content/0/mimeType", json!("image/png")),
        ("tools/call", call("test_audio_content"), "/content/0/mimeType", json!("audio/wav")),
        ("tools/call", call("test_embedded_resource"), "/content/0/resource/uri", json!("test://embedded-resource")),
        ("tools/call", call("test_embedded_resource"), "/content/0/resource/mimeType", json!("text/plain")),
        (
            "tools/call",
            call("test_multiple_content_types"),
            "/content/2/resource/uri",
            json!("test://mixed-content-resource"),
        ),
        ("tools/call", call("test_error_handling"), "/isError", json!(true)),
        (
            "resources/read",
            json!({"uri": "test://static-text"}),
            "/contents/0",
            json!({
                "uri": "test://static-text",
                "mimeType": "text/plain",
                "text": "This is the content of the static text resource.",
            }),
        ),
        ("resources/read", json!({"uri": "test://static-binary"}), "/contents/0/mimeType", json!("image/png")),
        (
            "resources/read",
            json!({"uri": "test://template/123/data"}),
            "/contents/0/uri",
            json!("test://template/123/data"),
        ),
        ("prompts/get", prompt, "/messages/0/content/text", {
            json!("Prompt with arguments: arg1='testValue1', arg2='testValue2'")
        }),
    ]
}

#[test]
fn texts_are_exact_in_both_eras() {
    with_fixture(|server| {
        let session = Session::open(server, None);
        for (method, params, place, wanted) in texts() {
            let new = send(server, &modern(method, params.clone()));
            assert_eq!(new.result().pointer(place), Some(&wanted), "{method} {params}: {:?}", new.message);
            let old = session.call(method, params.clone());
            assert_eq!(old.result().pointer(place), Some(&wanted), "{method} {params}: {:?}", old.message);
        }
    });
}

#[test]
fn every_result_of_the_new_era_says_its_type_and_none_of_the_older_one() {
    with_fixture(|server| {
        let reference = json!({"type": "ref/prompt", "name": "test_prompt_with_arguments"});
        let methods = [
            ("tools/list", json!({})),
            ("prompts/list", json!({})),
            ("resources/list", json!({})),
            ("resources/templates/list", json!({})),
            ("tools/call", json!({"name": "test_error_handling", "arguments": {}})),
            ("tools/call", json!({"name": "changes.active", "arguments": {}})),
            ("resources/read", json!({"uri": "changes://active"})),
            ("resources/read", json!({"uri": "change://prepared/tasks"})),
            ("prompts/get", json!({"name": "test_simple_prompt"})),
            ("completion/complete", json!({"ref": reference, "argument": {"name": "arg1", "value": "t"}})),
        ];
        let session = Session::open(server, None);
        for (method, params) in methods {
            let new = send(server, &modern(method, params.clone()));
            assert_eq!((new.status, &new.result()["resultType"]), (200, &json!("complete")), "{method} {params}");
            let cached = method.ends_with("/list") || method == "resources/read";
            assert_eq!(new.result()["ttlMs"].is_u64(), cached, "{method}: {:?}", new.message);
            assert_eq!(new.result()["cacheScope"].is_string(), cached, "{method}: {:?}", new.message);
            let old = session.call(method, params.clone());
            for field in ["resultType", "ttlMs", "cacheScope"] {
                assert!(old.result().get(field).is_none(), "{field} has no place in {method}: {:?}", old.message);
            }
        }
        assert_eq!(send(server, &modern("server/discover", json!({}))).result()["resultType"], "complete");
        assert_eq!(session.call("ping", json!({})).message, json!({"jsonrpc": "2.0", "id": 2, "result": {}}));
    });
}

#[test]
fn an_id_comes_back_as_it_was_written_or_is_refused() {
    with_fixture(|server| {
        let session = Session::open(server, None);
        let body = |id: &str| {
            let params = modern("tools/list", json!({})).to_bytes("localhost", false);
            let text = String::from_utf8(params).unwrap();
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            let mut message: Value = serde_json::from_str(body).unwrap();
            message["id"] = json!("HERE");
            message.to_string().replace("\"HERE\"", id)
        };
        let old = |id: &str| session.request(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/list\"}}"));
        let new = |id: &str| {
            Request::post_json("/mcp", body(id))
                .header("MCP-Protocol-Version", "2026-07-28")
                .header("Mcp-Method", "tools/list")
        };
        let good = [
            "0",
            "-7",
            "9007199254740993",
            "9223372036854775807",
            "\"\"",
            "\"7\"",
            "\"a\\u00e9\\n\"",
            "\"\\ud83d\\ude00\"",
        ];
        for id in good {
            for request in [new(id), old(id)] {
                let answer = send(server, &request);
                assert_eq!(answer.status, 200, "{id}: {:?}", answer.message);
                assert!(answer.response.text().contains(&format!("\"id\":{id}")), "{id}: {}", answer.response.text());
            }
        }
        for id in ["null", "true", "1.5", "[]", "{}", "[7]", "1e400", "123456789012345678901234567890"] {
            for request in [new(id), old(id)] {
                let answer = send(server, &request);
                assert_eq!((answer.status, answer.error_code()), (400, Some(-32600)), "{id}: {:?}", answer.message);
                assert!(answer.message["id"].is_null(), "{id}: {:?}", answer.message);
            }
        }
    });
}

#[test]
fn requests_of_one_id_at_a_time_are_all_answered() {
    with_fixture(|server| {
        let session = Session::open(server, None);
        let slow = |ms: u64| json!({"name": "test_sleep", "arguments": {"ms": ms}});
        let answers: Vec<(u64, Value)> = thread::scope(|scope| {
            let calls: Vec<_> = [300, 301, 302, 303]
                .into_iter()
                .map(|ms| {
                    let session = &session;
                    scope.spawn(move || {
                        let answer = if ms % 2 == 0 {
                            session.call("tools/call", slow(ms))
                        } else {
                            send(server, &modern_as(json!(2), &json!({}), "tools/call", slow(ms)))
                        };
                        (ms, answer.message)
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        for (ms, message) in answers {
            assert_eq!(message["id"], 2, "{message}");
            assert_eq!(
                message["result"]["structuredContent"]["slept_ms"], ms,
                "everybody gets the own answer: {message}"
            );
        }
    });
}

#[test]
fn each_header_must_say_what_the_body_says() {
    with_fixture(|server| {
        let prompt = modern("prompts/get", json!({"name": "test_simple_prompt"}));
        let resource = modern("resources/read", json!({"uri": "test://static-text"}));
        let param = modern_call("test_custom_header", json!({"value": "Hello"}));
        let wrong = [
            prompt.clone().header("Mcp-Name", "test_prompt_with_arguments"),
            prompt.clone().without("Mcp-Name"),
            prompt.clone().header("Mcp-Method", "tools/call"),
            prompt.clone().header("MCP-Protocol-Version", "2025-11-25"),
            prompt.clone().without("MCP-Protocol-Version"),
            resource.clone().header("Mcp-Name", "test://static-binary"),
            resource.clone().header("Mcp-Name", "TEST://static-text"),
            resource.clone().without("Mcp-Name"),
            resource.clone().header("Mcp-Name", "=?base64?dGVzdDovL3N0YXRpYy1iaW5hcnk=?="),
            resource.clone().header("Mcp-Name", "=?base64?dGVzdDovL3N0YXRpYy10ZXh0!?="),
            param.clone(),
            param.clone().header("Mcp-Param-Value", "hello"),
            param.clone().header("Mcp-Param-Value", "=?base64?aGVsbG8=?="),
            modern_call("test_custom_header", json!({})).header("Mcp-Param-Value", "Hello"),
        ];
        for request in wrong {
            let answer = send(server, &request);
            assert_eq!((answer.status, answer.error_code()), (400, Some(-32020)), "{request:?}: {:?}", answer.message);
            assert_eq!(answer.message["id"], 7, "{request:?}");
        }
        let right = [
            prompt,
            resource.clone(),
            resource.header("Mcp-Name", "=?base64?dGVzdDovL3N0YXRpYy10ZXh0?="),
            param.clone().header("Mcp-Param-Value", "Hello"),
            param.clone().header("mcp-param-value", " Hello "),
            param.header("Mcp-Param-Value", "=?base64?SGVsbG8=?="),
        ];
        for request in right {
            assert_eq!(send(server, &request).status, 200, "{request:?}");
        }
    });
}

#[test]
fn a_missing_capability_is_named_with_what_is_required() {
    with_fixture(|server| {
        let call = json!({"name": "test_missing_capability", "arguments": {}});
        let refused = send(server, &modern("tools/call", call.clone()));
        assert_eq!((refused.status, refused.error_code()), (400, Some(-32021)), "{:?}", refused.message);
        assert_eq!(refused.message["error"]["data"], json!({"requiredCapabilities": {"sampling": {}}}));
        let capable = send(server, &modern_as(json!(7), &json!({"sampling": {}}), "tools/call", call));
        assert_eq!(capable.status, 200, "{:?}", capable.message);
    });
}

#[test]
fn what_does_not_exist_is_told_by_its_uri() {
    with_fixture(|server| {
        let session = Session::open(server, None);
        for uri in
            ["test://no-such-thing", "change://no-such-change/proposal", "spec://nothing", "file:///etc/passwd", ""]
        {
            let new = send(server, &modern("resources/read", json!({"uri": uri})));
            assert_eq!(new.error_code(), Some(-32602), "{uri}: {:?}", new.message);
            assert_eq!(new.message["error"]["data"]["uri"], uri, "{:?}", new.message);
            // The code of this case before 2026-07-28.
            let old = session.call("resources/read", json!({"uri": uri}));
            assert_eq!(old.error_code(), Some(-32002), "{uri}: {:?}", old.message);
        }
    });
}

/// A message of a batch.
fn request(id: u64, method: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method})
}

#[test]
fn batches_are_served_in_2025_03_26_only() {
    with_fixture(|server| {
        let note = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}});
        let batch = json!([request(1, "ping"), note, request(2, "tools/list"), request(3, "unknown/method"), 7]);
        let oldest = Session::open_as(server, "2025-03-26", None);
        let answer = oldest.send_body(&batch.to_string());
        assert_eq!(answer.status, 200, "{}", answer.response.text());
        let answers = answer.message.as_array().unwrap_or_else(|| panic!("no batch: {}", answer.response.text()));
        assert_eq!(answers.len(), 4, "one answer for each request and for what is none: {answers:?}");
        let by_id =
            |id: Value| answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("{id}: {answers:?}"));
        assert_eq!(by_id(json!(1))["result"], json!({}));
        assert!(by_id(json!(2))["result"]["tools"].is_array());
        assert_eq!(by_id(json!(3))["error"]["code"], -32601);
        assert_eq!(by_id(Value::Null)["error"]["code"], -32600);

        let only_notes = oldest.send_body(&json!([note, note]).to_string());
        assert_eq!((only_notes.status, only_notes.response.body.len()), (202, 0), "{}", only_notes.response.text());
        let empty = oldest.send_body("[]");
        assert_eq!(empty.error_code(), Some(-32600), "{}", empty.response.text());

        for revision in ["2025-06-18", "2025-11-25"] {
            let answer = Session::open_as(server, revision, None).send_body(&batch.to_string());
            assert_eq!((answer.status, answer.error_code()), (400, Some(-32600)), "{revision}: {:?}", answer.message);
        }
        let modern = modern("tools/list", json!({}));
        let text = String::from_utf8(modern.to_bytes("localhost", false)).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        let new = Request::post_json("/mcp", format!("[{body}]")).header("MCP-Protocol-Version", "2026-07-28");
        let answer = send(server, &new.header("Mcp-Method", "tools/list"));
        assert_eq!((answer.status, answer.error_code()), (400, Some(-32600)), "{:?}", answer.message);
    });
}

#[test]
fn an_answer_nobody_asked_for_changes_nothing() {
    with_fixture(|server| {
        let session = Session::open(server, None);
        let workers = server.wait_workers(2, &[]);
        for answer in [
            json!({"jsonrpc": "2.0", "id": 99, "result": {"action": "accept"}}),
            json!({"jsonrpc": "2.0", "id": "no-such-question", "result": {}}),
            json!({"jsonrpc": "2.0", "id": 99, "error": {"code": -1, "message": "no"}}),
            json!({"jsonrpc": "2.0", "id": null, "error": {"code": -1, "message": "no"}}),
        ] {
            let taken = session.send_body(&answer.to_string());
            assert!(matches!(taken.status, 202 | 400), "{answer}: {} {}", taken.status, taken.response.text());
            assert!(taken.message.get("result").is_none(), "{answer}: {}", taken.response.text());
            // The new era has no questions of the server, so no answers either.
            let modern = Request::post_json("/mcp", answer.to_string()).header("MCP-Protocol-Version", "2026-07-28");
            let refused = send(server, &modern);
            assert_eq!(refused.status, 400, "{answer}: {}", refused.response.text());
        }
        assert_eq!(session.call("ping", json!({})).result(), &json!({}));
        assert_eq!(server.workers(), workers, "nobody died of it");
    });
}

#[test]
fn broken_text_is_refused_wherever_it_stands() {
    with_fixture(|server| {
        let session = Session::open(server, None);
        let message = json!({"jsonrpc": "2.0", "id": "I", "method": "tools/callM", "params": {"name": "test_simple_textN", "K": "V"}});
        let bytes = message.to_string().into_bytes();
        for place in [b'I', b'M', b'N', b'K', b'V'] {
            for broken in [&[0xff_u8][..], &[0xc3, 0x28], &[0xed, 0xa0, 0x80], &[0xf8, 0x88, 0x80, 0x80, 0x80]] {
                let at = bytes.iter().rposition(|byte| *byte == place).unwrap();
                let body = [&bytes[..at], broken, &bytes[at + 1..]].concat();
                let mut request = Request::post_json("/mcp", body).header("MCP-Protocol-Version", "2025-11-25");
                if let Some(id) = session.id() {
                    request = request.header("Mcp-Session-Id", id);
                }
                let answer = send(server, &request);
                assert_eq!(answer.error_code(), Some(-32700), "{place} {broken:x?}: {}", answer.response.text());
                assert_eq!(answer.status, 400, "{place} {broken:x?}");
            }
        }
        // Half of a surrogate pair is JSON, and no text.
        let lone = session.send_body(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\ud800"}}"#);
        assert!(lone.error_code().is_some() && lone.status < 500, "{} {}", lone.status, lone.response.text());
    });
}

#[test]
fn numbers_beyond_all_measure_are_no_fault_of_the_server() {
    with_fixture(|server| {
        let session = Session::open(server, None);
        let workers = server.wait_workers(2, &[]);
        let numbers =
            ["1e400", "-1e400", "9223372036854775808", "-9223372036854775809", "0.1e-400", &"9".repeat(5_000)];
        let bodies = [
            r#"{"name":"changes.active","arguments":{"pageSize":N}}"#,
            r#"{"name":"changes.active","arguments":{},"_meta":{"progressToken":N}}"#,
            r#"{"name":"change.show","arguments":{"slug":N}}"#,
            r#"{"name":"changes.active","arguments":N}"#,
        ];
        for number in numbers {
            for params in bodies {
                let params = params.replace('N', number);
                let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
                let answer = session.send_body(&body);
                assert!(answer.status < 500, "{params}: {} {}", answer.status, answer.response.text());
                assert!(answer.message.is_object(), "{params}: {}", answer.response.text());
            }
        }
        assert_eq!(server.workers(), workers, "nobody died of it");
    });
}

#[test]
fn a_foreign_origin_is_forbidden_whatever_the_method() {
    with_fixture(|server| {
        for method in ["GET", "DELETE", "POST"] {
            let request = Request::new(method, "/mcp").header("Accept", "text/event-stream");
            let answer = server.send(&request.header("Origin", "https://evil.example.com"));
            assert_eq!(answer.status, 403, "{method}: {}", answer.text());
        }
    });
}

#[test]
fn log_messages_come_only_when_asked_for_and_from_the_level_on() {
    with_fixture(|server| {
        let call = |level: Option<&str>| {
            let mut params = json!({"name": "test_tool_with_logging", "arguments": {}, "_meta": {}});
            if let Some(level) = level {
                params["_meta"][format!("{META}/logLevel")] = json!(level);
            }
            server.send(&modern("tools/call", params)).text().matches("notifications/message").count()
        };
        assert_eq!(call(None), 0);
        assert_eq!(call(Some("debug")), 3);
        assert_eq!(call(Some("info")), 3);
        assert_eq!(call(Some("warning")), 0);
    });
}

#[test]
fn a_server_whose_tools_do_not_log_declares_no_logging_to_new_clients() {
    let tree = Tree::new();
    let product = Server::build(tree.root()).start();
    let discovered = |server: &Server| send(server, &modern("server/discover", json!({}))).message;
    assert!(discovered(&product)["result"]["capabilities"].get("logging").is_none(), "{}", discovered(&product));
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "e", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    let shaken = send(&product, &Request::post_json("/mcp", body.to_string()));
    assert!(shaken.result()["capabilities"]["logging"].is_object(), "its method exists: {:?}", shaken.message);
    with_fixture(|server| {
        let told = discovered(server);
        assert!(told["result"]["capabilities"]["logging"].is_object(), "one of its tools logs: {told}");
    });
}

#[test]
fn the_answers_of_a_batch_have_the_limit_of_one_result_together() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("limits.response_bytes", 20_000).start();
    let oldest = Session::open_as(&server, "2025-03-26", None);
    let call = |id: u64| {
        let params = json!({"name": "test_uncached", "arguments": {"key": "batch", "bytes": 5_000}});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    };
    let answer = oldest.send_body(&Value::from((1..=64).map(call).collect::<Vec<_>>()).to_string());
    assert_eq!(answer.status, 200, "{}", answer.response.text());
    assert!(answer.response.body.len() < 60_000, "{} bytes", answer.response.body.len());
    let answers = answer.message.as_array().unwrap();
    assert_eq!(answers.len(), 64);
    let (served, refused): (Vec<&Value>, Vec<&Value>) =
        answers.iter().partition(|answer| answer.get("result").is_some());
    assert!((1..=4).contains(&served.len()), "{}", served.len());
    for answer in &refused {
        assert_eq!(answer["error"]["code"], -32000, "{answer}");
        assert_eq!(answer["error"]["data"]["limit"], 20_000, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("limits.response_bytes"), "{answer}");
    }
    assert_eq!(refused[0]["id"], served.len() + 1, "they are served in their order");
    assert_eq!(server.runs("test_uncached.batch"), served.len(), "what does not fit is not run");
}

#[test]
fn a_message_of_a_batch_that_is_refused_leaves_the_others_their_answers() {
    with_fixture(|server| {
        let oldest = Session::open_as(server, "2025-03-26", None);
        let call = |id: u64, key: &str| {
            let params =
                json!({"name": "test_counter", "arguments": {}, "_meta": {"dev.task-mcp/idempotencyKey": key}});
            json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
        };
        let batch = json!([call(1, "first"), call(2, "no key\n"), call(3, "third")]);
        let answer = oldest.send_body(&batch.to_string());
        assert_eq!(answer.status, 200, "{}", answer.response.text());
        let answers = answer.message.as_array().unwrap();
        let ids: Vec<&Value> = answers.iter().map(|answer| &answer["id"]).collect();
        assert_eq!(ids, [1, 2, 3], "{answers:?}");
        assert!(answers[0]["result"].is_object() && answers[2]["result"].is_object(), "{answers:?}");
        assert_eq!(answers[1]["error"]["code"], -32602, "{answers:?}");

        let one = json!([call(4, "fourth")]).to_string();
        let under_a_header = oldest.request(&one).header("Idempotency-Key", "\"fifth\"");
        let answer = send(server, &under_a_header);
        assert_eq!(answer.status, 400, "{}", answer.response.text());
        assert!(answer.message["error"]["message"].as_str().unwrap().contains("_meta"), "{:?}", answer.message);
    });
}

#[test]
fn what_mcp_does_not_serve_is_refused_in_its_form() {
    with_fixture(|server| {
        let session = Session::open(server, None);
        for (method, version, allowed) in [
            ("PUT", "2025-11-25", "POST, GET, DELETE"),
            ("PATCH", "2026-07-28", "POST, GET, DELETE"),
            ("GET", "2026-07-28", "POST"),
            ("DELETE", "2026-07-28", "POST"),
        ] {
            let request = Request::new(method, "/mcp").header("Accept", "text/event-stream");
            let answer = send(server, &request.header("MCP-Protocol-Version", version));
            assert_eq!((answer.status, answer.response.header("allow")), (405, Some(allowed)), "{method}");
            assert_eq!(answer.error_code(), Some(-32600), "{method}: {}", answer.response.text());
            assert_eq!(answer.message["error"]["data"]["code"], "METHOD_NOT_ALLOWED", "{}", answer.message);
        }
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        for (kind, status) in [
            ("application/json", 200),
            ("application/json; charset=utf-8", 200),
            ("application/json;charset=\"UTF-8\"", 200),
            ("application/json;charset=utf-16", 415),
            ("application/json; a=b; Charset=latin1", 415),
        ] {
            let request = session.request(ping).without("Content-Type").header("Content-Type", kind);
            assert_eq!(send(server, &request).status, status, "{kind}");
        }
    });
}

#[test]
fn the_header_names_the_revision_of_its_session() {
    with_fixture(|server| {
        let session = Session::open_as(server, "2025-06-18", None);
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let answer = |version: &str| {
            let request = session.request(ping).without("MCP-Protocol-Version");
            send(server, &request.header("MCP-Protocol-Version", version))
        };
        assert_eq!(answer("2025-06-18").status, 200);
        assert_eq!(send(server, &session.request(ping).without("MCP-Protocol-Version")).status, 200);
        for other in ["2025-11-25", "2025-03-26"] {
            let refused = answer(other);
            assert_eq!((refused.status, refused.error_code()), (400, Some(-32600)), "{}", refused.message);
            let text = refused.message["error"]["message"].as_str().unwrap();
            assert!(text.contains(other) && text.contains("2025-06-18"), "{text}");
        }
        // Who shakes hands again begins another session, and the first one stays.
        let params =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}});
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let again = server.send(&session.request(&hello.to_string()));
        assert!(again.header("mcp-session-id").is_some_and(|id| Some(id) != session.id()), "{}", again.text());
        assert_eq!(answer("2025-06-18").status, 200);
    });
}

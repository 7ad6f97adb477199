//! The table of the conformance suite's `server-stateless` scenario, and what clients get wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use serde_json::{Value, json};

use super::*;
use crate::request::Invocation;
use crate::{Blocks, CallResult, Offer, ServerInfo, ToolAnnotations, ToolDescription, code, json_string};

fn engine() -> Engine {
    let tool = ToolDescription {
        name: "changes.active".into(),
        title: "Active changes".into(),
        description: "Lists them.".into(),
        input_schema: json!({ "type": "object" }),
        output_schema: None,
        annotations: ToolAnnotations {
            read_only_hint: true,
            destructive_hint: false,
            idempotent_hint: true,
            open_world_hint: false,
        },
    };
    let info = ServerInfo {
        name: "task-mcp".into(),
        title: "Task MCP".into(),
        version: "1".into(),
        instructions: "Use it.".into(),
    };
    Engine::new(Catalog::new(&info, &Offer { tools: vec![tool], ..Offer::default() }).unwrap())
}

const MODERN: &str = "2026-07-28";

fn modern_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

fn modern_headers(method: &'static str) -> RequestHeaders<'static> {
    RequestHeaders { protocol_version: Some(MODERN), method: Some(method), name: None, params: Vec::new() }
}

fn request(method: &str, params: Value) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string().into_bytes()
}

fn reply(body: &[u8], headers: &RequestHeaders<'_>) -> (u16, Value) {
    let engine = engine();
    let reply = match engine.route(body, headers) {
        Route::Reply(reply) => reply,
        Route::Request(asked) => engine.told(&asked).unwrap_or_else(|| panic!("no reply at once: {asked:?}")),
        other => panic!("no reply: {other:?}"),
    };
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

/// The request a message leads to, which runs something.
#[track_caller]
fn asked<'r, 'a>(route: &'r Route<'a>) -> &'r Request<'a> {
    match route {
        Route::Request(asked) => asked,
        other => panic!("no request: {other:?}"),
    }
}

#[track_caller]
fn invocation<'r, 'a>(route: &'r Route<'a>) -> &'r Invocation<'a> {
    match &asked(route).method {
        Method::CallTool(run) | Method::GetPrompt(run) | Method::ReadResource(run) => run,
        other => panic!("nothing is run: {other:?}"),
    }
}

#[track_caller]
fn refused(body: &[u8], headers: &RequestHeaders<'_>, status: u16, code: i32) -> Value {
    let (got_status, got) = reply(body, headers);
    assert_eq!((got_status, got["error"]["code"].as_i64()), (status, Some(i64::from(code))), "{got}");
    got
}

#[test]
fn meta_is_checked_before_the_method() {
    let headers = modern_headers("server/discover");
    let got = refused(&request("server/discover", json!({})), &headers, 400, code::INVALID_PARAMS);
    assert_eq!(got["id"], 7);
    let mut meta = modern_meta();
    meta.as_object_mut().unwrap().remove("io.modelcontextprotocol/clientCapabilities");
    refused(&request("tools/list", json!({ "_meta": meta })), &modern_headers("tools/list"), 400, code::INVALID_PARAMS);
    let meta = json!({ "io.modelcontextprotocol/clientCapabilities": {} });
    refused(&request("tools/list", json!({ "_meta": meta })), &modern_headers("tools/list"), 400, code::INVALID_PARAMS);
}

#[test]
fn versions_must_agree_and_be_known() {
    let mut meta = modern_meta();
    meta["io.modelcontextprotocol/protocolVersion"] = json!("v999.0.0");
    let body = request("tools/list", json!({ "_meta": meta }));
    refused(&body, &modern_headers("tools/list"), 400, code::HEADER_MISMATCH);
    let unknown = RequestHeaders { protocol_version: Some("v999.0.0"), ..modern_headers("tools/list") };
    let got = refused(&body, &unknown, 400, code::UNSUPPORTED_PROTOCOL_VERSION);
    assert_eq!(got["error"]["data"]["requested"], "v999.0.0");
    let (_, discovered) =
        reply(&request("server/discover", json!({ "_meta": modern_meta() })), &modern_headers("server/discover"));
    assert_eq!(got["error"]["data"]["supported"], discovered["result"]["supportedVersions"]);
    let mut meta = modern_meta();
    meta["io.modelcontextprotocol/protocolVersion"] = json!("2025-11-25");
    let legacy = RequestHeaders { protocol_version: Some("2025-11-25"), ..modern_headers("tools/list") };
    let got =
        refused(&request("tools/list", json!({ "_meta": meta })), &legacy, 400, code::UNSUPPORTED_PROTOCOL_VERSION);
    assert_eq!(got["error"]["data"]["supported"], json!([MODERN]), "nobody is sent back to what was refused");
    let none = RequestHeaders { protocol_version: None, ..modern_headers("tools/list") };
    refused(&request("tools/list", json!({ "_meta": modern_meta() })), &none, 400, code::HEADER_MISMATCH);
}

#[test]
fn what_the_modern_era_left_behind_is_not_found() {
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "unknown/method"] {
        let headers =
            RequestHeaders { protocol_version: Some(MODERN), method: Some(method), name: None, params: Vec::new() };
        refused(&request(method, json!({ "_meta": modern_meta() })), &headers, 404, code::METHOD_NOT_FOUND);
    }
}

#[test]
fn headers_must_say_what_the_body_says() {
    let body = request("tools/call", json!({ "name": "changes.active", "_meta": modern_meta() }));
    refused(&body, &modern_headers("TOOLS/CALL"), 400, code::HEADER_MISMATCH);
    refused(&body, &modern_headers("tools/call"), 400, code::HEADER_MISMATCH);
    let headers = RequestHeaders { name: Some("  changes.active "), ..modern_headers("tools/call") };
    let engine = engine();
    assert_eq!(invocation(&engine.route(&body, &headers)).name, "changes.active");
}

#[test]
fn a_handshake_gets_the_version_it_asked_for_or_the_newest_legacy_one() {
    for (asked, got) in [("2025-11-25", "2025-11-25"), ("2025-06-18", "2025-06-18"), ("1999-01-01", "2025-11-25")] {
        let body = request("initialize", json!({ "protocolVersion": asked, "capabilities": {} }));
        let (status, answer) = reply(&body, &RequestHeaders::default());
        assert_eq!((status, &answer["result"]["protocolVersion"]), (200, &json!(got)));
    }
    refused(&request("initialize", json!({})), &RequestHeaders::default(), 200, code::INVALID_PARAMS);
}

#[test]
fn legacy_methods_answer_without_meta() {
    let headers = RequestHeaders { protocol_version: Some("2025-11-25"), ..RequestHeaders::default() };
    assert_eq!(reply(&request("ping", json!({})), &headers), (200, json!({ "jsonrpc": "2.0", "id": 7, "result": {} })));
    let (_, listed) = reply(&request("tools/list", json!({})), &headers);
    assert_eq!(listed["result"]["tools"][0]["name"], "changes.active");
    assert_eq!(listed["result"].get("resultType"), None);
    refused(&request("tools/list", json!({ "cursor": "x" })), &headers, 200, code::INVALID_PARAMS);
    refused(&request("gone", json!({})), &headers, 200, code::METHOD_NOT_FOUND);
}

#[test]
fn a_result_is_wrapped_for_its_era() {
    let result = CallResult {
        structured: Some("{\"a\":1}".into()),
        content: Blocks::Text(json_string("{\"a\":1}")),
        is_error: false,
    };
    let engine = engine();
    let answer = |request: &Request<'_>| -> Value {
        let reply = Reply::complete(&engine, request, result.size_hint(), |out| result.write_fields(out));
        serde_json::from_slice(&reply.body).unwrap()
    };
    let body = request("tools/call", json!({ "name": "x", "arguments": { "k": [1] } }));
    let route = engine.route(&body, &RequestHeaders::default());
    assert_eq!(invocation(&route).arguments, "{\"k\":[1]}");
    assert_eq!(
        answer(asked(&route))["result"],
        json!({ "content": [{ "type": "text", "text": "{\"a\":1}" }], "structuredContent": { "a": 1 }, "isError": false })
    );
    let body = request("tools/call", json!({ "name": "x", "_meta": modern_meta() }));
    let headers = RequestHeaders { name: Some("x"), ..modern_headers("tools/call") };
    let route = engine.route(&body, &headers);
    let answer = answer(asked(&route));
    assert_eq!(answer["result"]["resultType"], "complete");
    assert_eq!(answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "task-mcp");
}

#[test]
fn bodies_that_are_no_message_say_why() {
    let none = RequestHeaders::default();
    refused(b"{\"jsonrpc\":", &none, 400, code::PARSE_ERROR);
    refused(b"", &none, 400, code::PARSE_ERROR);
    refused(b"\xff\xfe", &none, 400, code::PARSE_ERROR);
    refused(b"[", &none, 400, code::PARSE_ERROR);
    refused(b"[]", &none, 400, code::INVALID_REQUEST);
    refused(b"3", &none, 400, code::INVALID_REQUEST);
    refused(b"{}", &none, 400, code::INVALID_REQUEST);
    refused(br#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, &none, 400, code::INVALID_REQUEST);
    refused(br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, &none, 400, code::INVALID_REQUEST);
    refused(br#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, &none, 400, code::INVALID_REQUEST);
    refused(br#"{"jsonrpc":"2.0","id":1,"method":4}"#, &none, 400, code::INVALID_REQUEST);
    refused(br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, &none, 200, code::INVALID_PARAMS);
    refused(br#"{"jsonrpc":"2.0","id":1,"method":"x","params":[]}"#, &modern_headers("x"), 400, code::INVALID_PARAMS);
    let listed = json!({ "name": "x", "_meta": ["2026-07-28", {}] });
    refused(&request("tools/call", listed), &modern_headers("tools/call"), 400, code::INVALID_PARAMS);
    let twice = refused(br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, &none, 400, code::INVALID_REQUEST);
    assert!(twice["error"]["message"].as_str().unwrap().contains("duplicate field `id`"), "{twice}");
    refused(br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, &none, 200, code::INVALID_PARAMS);
    for params in [json!({}), json!({ "name": 1 }), json!({ "name": "x", "arguments": [] })] {
        refused(&request("tools/call", params), &none, 200, code::INVALID_PARAMS);
    }
}

#[test]
fn an_error_does_not_repeat_what_the_client_sent() {
    let long = "x".repeat(100_000);
    let body = json!(long).to_string();
    let told = refused(body.as_bytes(), &RequestHeaders::default(), 400, code::INVALID_REQUEST);
    assert_eq!(told["error"]["message"], "the body must be one JSON-RPC 2.0 object");
    for notifications in [json!({ "toolsListChanged": long }), json!({ "taskIds": [7] }), json!({ "taskIds": long })] {
        let params = json!({ "notifications": notifications, "_meta": modern_meta() });
        let listen = request("subscriptions/listen", params);
        let told = refused(&listen, &modern_headers("subscriptions/listen"), 400, code::INVALID_PARAMS).to_string();
        assert!(told.contains("`params.notifications`") && told.len() < 500, "{told}");
    }
}

#[test]
fn notifications_and_answers_are_accepted() {
    let none = RequestHeaders::default();
    let note = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert!(matches!(engine().route(note, &none), Route::Notification(Notification::Other)));
    let unknown = RequestHeaders { protocol_version: Some("v999"), ..RequestHeaders::default() };
    refused(note, &unknown, 400, code::UNSUPPORTED_PROTOCOL_VERSION);
    let answer = br#"{"jsonrpc":"2.0","id":"q","result":{}}"#;
    let route = engine();
    let route = route.route(answer, &none);
    assert!(matches!(&route, Route::Response(one) if (one.id.as_ref(), one.outcome) == ("q", Ok("{}"))), "{route:?}");
    refused(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#, &none, 400, code::INVALID_REQUEST);
    for outcome in [r#""result":5"#, r#""result":[]"#, r#""error":5"#, r#""error":{"code":"x","message":"y"}"#] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":"q",{outcome}}}"#);
        refused(body.as_bytes(), &none, 400, code::INVALID_REQUEST);
    }
    assert!(matches!(engine().route(answer, &modern_headers("x")), Route::Reply(reply) if reply.status == 400));
}

#[test]
fn an_escaped_id_and_name_survive() {
    let body = br#"{"jsonrpc":"2.0","id":"\u00e9\"","method":"tools/call","params":{"name":"a\u0062c"}}"#;
    let engine = engine();
    let route = engine.route(body, &RequestHeaders::default());
    assert_eq!(invocation(&route).name, "abc");
    let reply = Reply::refusal(asked(&route), RpcError::invalid_params("no"));
    let reply: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(reply["id"], "é\"");
}

/// All parts of a request that may be wrong, from what is told first to what is told last.
#[test]
fn the_first_thing_that_is_wrong_is_told() {
    let unknown = "v999.0.0";
    let call = |version: Option<&str>, method: &str, name: Value| {
        let mut params = json!({ "name": name, "_meta": modern_meta() });
        match version {
            Some(version) => params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(version),
            None => drop(params["_meta"].as_object_mut().unwrap().remove("io.modelcontextprotocol/clientCapabilities")),
        }
        request(method, params)
    };
    let headers = |version, method, name| RequestHeaders {
        protocol_version: Some(version),
        method: Some(method),
        name: Some(name),
        params: Vec::new(),
    };
    let table = [
        // The body, its headers, and what is told.
        (call(None, "gone", json!(1)), headers(unknown, "other", "x"), 400, code::INVALID_PARAMS),
        (call(Some(unknown), "gone", json!(1)), headers(MODERN, "gone", "x"), 400, code::HEADER_MISMATCH),
        (call(Some(unknown), "gone", json!(1)), headers(unknown, "other", "x"), 400, code::HEADER_MISMATCH),
        (call(Some(unknown), "gone", json!(1)), headers(unknown, "gone", "x"), 400, code::UNSUPPORTED_PROTOCOL_VERSION),
        (call(Some(MODERN), "gone", json!(1)), headers(MODERN, "gone", "x"), 404, code::METHOD_NOT_FOUND),
        (call(Some(MODERN), "tools/call", json!(1)), headers(MODERN, "tools/call", "x"), 400, code::INVALID_PARAMS),
        (call(Some(MODERN), "tools/call", json!("y")), headers(MODERN, "tools/call", "x"), 400, code::HEADER_MISMATCH),
    ];
    for (body, headers, status, code) in table {
        refused(&body, &headers, status, code);
    }
}

#[test]
fn what_is_not_offered_is_not_found_in_either_era() {
    for method in
        ["prompts/list", "prompts/get", "resources/list", "resources/read", "completion/complete", "tasks/list"]
    {
        let body = request(method, json!({ "name": "x", "uri": "x:y", "_meta": modern_meta() }));
        let headers = RequestHeaders { name: Some("x"), ..modern_headers(method) };
        refused(&body, &headers, 404, code::METHOD_NOT_FOUND);
        let legacy = RequestHeaders { protocol_version: Some("2025-06-18"), ..RequestHeaders::default() };
        refused(&request(method, json!({ "name": "x", "uri": "x:y" })), &legacy, 200, code::METHOD_NOT_FOUND);
    }
}

#[test]
fn every_request_about_a_task_names_it_in_a_header() {
    for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
        let body = request(method, json!({ "taskId": "t-1", "inputResponses": {}, "_meta": modern_meta() }));
        for name in [None, Some("t-2"), Some("T-1")] {
            refused(&body, &RequestHeaders { name, ..modern_headers(method) }, 400, code::HEADER_MISMATCH);
        }
        let headers = RequestHeaders { name: Some("t-1"), ..modern_headers(method) };
        assert!(matches!(engine().route(&body, &headers), Route::Request(_)), "{method}");
    }
}

#[test]
fn a_legacy_version_that_is_unknown_is_refused_but_in_a_handshake() {
    for version in ["2024-11-05", "", "latest", "2026-07-28 "] {
        let headers = RequestHeaders { protocol_version: Some(version), ..RequestHeaders::default() };
        let wanted = if version.trim() == MODERN { code::INVALID_PARAMS } else { code::UNSUPPORTED_PROTOCOL_VERSION };
        refused(&request("tools/list", json!({})), &headers, 400, wanted);
    }
    let headers = RequestHeaders { protocol_version: Some("2024-11-05"), ..RequestHeaders::default() };
    let body = request("initialize", json!({ "protocolVersion": "2025-03-26", "capabilities": {} }));
    let (status, answer) = reply(&body, &headers);
    assert_eq!((status, &answer["result"]["protocolVersion"]), (200, &json!("2025-03-26")));
}

#[test]
fn a_batch_is_for_the_revision_that_has_batches() {
    let engine = engine();
    let batch = br#" [{"jsonrpc":"2.0","id":1,"method":"ping"},7, {"jsonrpc":"2.0","method":"notifications/x"}]"#;
    let named = |version| RequestHeaders { protocol_version: Some(version), ..RequestHeaders::default() };
    for headers in [RequestHeaders::default(), named("2025-03-26")] {
        let Route::Batch(messages) = engine.route(batch, &headers) else { panic!("no batch") };
        let texts: Vec<&str> = messages.iter().map(|message| message.get()).collect();
        assert_eq!(
            texts,
            [r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "7", r#"{"jsonrpc":"2.0","method":"notifications/x"}"#]
        );
    }
    for version in ["2025-06-18", "2025-11-25", MODERN] {
        refused(batch, &named(version), 400, code::INVALID_REQUEST);
    }
    refused(batch, &named("v999"), 400, code::UNSUPPORTED_PROTOCOL_VERSION);
    let of = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    let many = of(crate::BATCH_MAX);
    assert!(matches!(engine.route(many.as_bytes(), &RequestHeaders::default()), Route::Batch(all) if all.len() == 64));
    let more = refused(of(100_000).as_bytes(), &RequestHeaders::default(), 400, code::INVALID_REQUEST);
    assert!(more["error"]["message"].as_str().unwrap().contains("64"), "{more}");
    let broken = format!("{},", of(100).trim_end_matches(']'));
    refused(broken.as_bytes(), &RequestHeaders::default(), 400, code::PARSE_ERROR);
}

#[test]
fn what_may_not_be_part_of_a_batch_is_refused_where_it_stands() {
    let engine = engine();
    let of_batch = |text: &str| {
        let message = serde_json::from_str::<&RawValue>(text).unwrap();
        match engine.route_of_batch(message, Some(&RequestHeaders::default())) {
            Route::Reply(reply) => serde_json::from_slice::<Value>(&reply.body).unwrap(),
            other => json!(format!("{other:?}")),
        }
    };
    let begun =
        of_batch(r#"{"jsonrpc":"2.0","id":"a","method":"initialize","params":{"protocolVersion":"2025-03-26"}}"#);
    assert_eq!((&begun["id"], &begun["error"]["code"]), (&json!("a"), &json!(code::INVALID_REQUEST)));
    for text in ["[[]]", r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "7", "null", "{}"] {
        assert_eq!(of_batch(text)["error"]["code"], code::INVALID_REQUEST, "{text}");
    }
    assert!(of_batch(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).as_str().unwrap().contains("Ping"));
}

#[test]
fn a_transport_without_headers_is_asked_for_none() {
    let engine = engine();
    let line = |method: &str, params: Value| request(method, params);
    let call = line("tools/call", json!({ "name": "x", "_meta": modern_meta() }));
    let route = engine.route_line(&call);
    assert_eq!((invocation(&route).name.as_ref(), asked(&route).era), ("x", Era::Modern));
    let call = line("tools/call", json!({ "name": "x" }));
    let route = engine.route_line(&call);
    assert_eq!((asked(&route).era, asked(&route).revision), (Era::Legacy, None));
    let code = |body: &[u8]| match engine.route_line(body) {
        Route::Reply(reply) => reply.error_code,
        other => panic!("no reply: {other:?}"),
    };
    let mut meta = modern_meta();
    meta["io.modelcontextprotocol/protocolVersion"] = json!("v999");
    assert_eq!(code(&line("tools/list", json!({ "_meta": meta }))), Some(code::UNSUPPORTED_PROTOCOL_VERSION));
    assert_eq!(code(&line("server/discover", json!({}))), Some(code::INVALID_PARAMS));
    assert_eq!(code(&line("gone", json!({}))), Some(code::METHOD_NOT_FOUND));
}

#[test]
fn ids_of_every_kind_are_echoed_or_refused() {
    let engine = engine();
    let big =
        ["9007199254740993", "18446744073709551615", "-9223372036854775808", r#""\u00e9\/\n""#, r#""""#, "0", "-0"];
    for id in big {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let Route::Request(asked) = engine.route(body.as_bytes(), &RequestHeaders::default()) else { panic!("{id}") };
        let reply = engine.told(&asked).unwrap();
        assert_eq!(reply.body, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
    }
    for id in ["null", "true", "[]", "{}", "1.0", "1e3", "18446744073709551616", "123456789012345678901234567890"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let got = refused(body.as_bytes(), &RequestHeaders::default(), 400, code::INVALID_REQUEST);
        assert_eq!(got.get("id"), None, "{id}");
    }
}

#[test]
fn what_nobody_reads_must_be_text_all_the_same() {
    for place in ["id\":\"\u{1}", "x\":\"\u{1}", "method\":\"ping\u{1}"] {
        let text = format!("{{\"jsonrpc\":\"2.0\",\"{place}\"}}");
        let body: Vec<u8> = text.bytes().map(|byte| if byte == 1 { 0xff } else { byte }).collect();
        refused(&body, &RequestHeaders::default(), 400, code::PARSE_ERROR);
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
        let _ = engine().route(&body, &RequestHeaders::default());
    }

    #[test]
    fn no_json_panics(text in r#"[\[\]{}":,a-z0-9\\ ]{0,64}"#) {
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{text}}}");
        let _ = engine().route(body.as_bytes(), &RequestHeaders::default());
    }
}

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
    RequestHeaders { protocol_version: Some(MODERN), method: Some(method), name: None, others: None }
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
        let headers = RequestHeaders { protocol_version: Some(MODERN), method: Some(method), name: None, others: None };
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

//! The table of headers and `_meta` of MCP 2026-07-28, and what the older era keeps.

use serde_json::{Value, json};
use task_mcp_bench::Request;

use crate::support::{Answer, META, Server, Session, Tree, modern, modern_call};

fn with_server(test: impl FnOnce(&Server)) {
    let tree = Tree::new();
    test(&Server::build(tree.root()).start());
}

fn send(server: &Server, request: &Request) -> Answer {
    Answer::new(server.send(request))
}

/// A request of 2026-07-28 with this `_meta`, all headers in order.
fn discover_with(meta: Option<Value>, id: u64) -> Request {
    let params = meta.map_or(json!({}), |meta| json!({"_meta": meta}));
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "server/discover", "params": params});
    Request::post_json("/mcp", body.to_string())
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "server/discover")
}

fn meta(version: &str) -> Value {
    json!({
        format!("{META}/protocolVersion"): version,
        format!("{META}/clientInfo"): {"name": "e2e", "version": "1"},
        format!("{META}/clientCapabilities"): {},
    })
}

fn meta_without(key: &str) -> Value {
    let mut meta = meta("2026-07-28");
    meta.as_object_mut().unwrap().remove(&format!("{META}/{key}"));
    meta
}

#[test]
fn discover_tells_versions_and_capabilities() {
    with_server(|server| {
        let answer = send(server, &modern("server/discover", json!({})));
        let result = answer.result();
        assert_eq!(answer.status, 200);
        let versions = result["supportedVersions"].as_array().unwrap();
        assert!(versions.contains(&json!("2026-07-28")), "{result}");
        assert!(result["capabilities"]["tools"].is_object(), "{result}");
        assert_eq!(result["resultType"], "complete");
        assert!(result["ttlMs"].is_u64(), "{result}");
        assert!(matches!(result["cacheScope"].as_str(), Some("public" | "private")), "{result}");
        assert!(result["_meta"][format!("{META}/serverInfo")]["name"].is_string(), "{result}");
    });
}

#[test]
fn lists_and_calls_carry_the_fields_of_the_revision() {
    with_server(|server| {
        let first = send(server, &modern("tools/list", json!({})));
        let list = first.result();
        assert_eq!(list["resultType"], "complete");
        assert!(list["ttlMs"].is_u64() && list["cacheScope"].is_string(), "{list}");
        let second = send(server, &modern("tools/list", json!({})));
        assert_eq!(list["tools"], second.result()["tools"], "the order is stable");
        let call = send(server, &modern_call("changes.active", json!({})));
        assert_eq!((call.status, &call.result()["resultType"]), (200, &json!("complete")));
        let without_arguments = send(server, &modern("tools/call", json!({"name": "changes.active"})));
        assert!(without_arguments.result()["structuredContent"]["items"].is_array());
    });
}

#[test]
fn what_meta_must_have_is_demanded_before_anything_else() {
    with_server(|server| {
        let missing = [None, Some(meta_without("protocolVersion")), Some(meta_without("clientCapabilities"))];
        for (id, meta) in (101..).zip(missing) {
            let answer = send(server, &discover_with(meta.clone(), id));
            assert_eq!((answer.status, answer.error_code()), (400, Some(-32602)), "{meta:?} {:?}", answer.message);
            assert_eq!(answer.message["id"], id, "the id comes back");
        }
        let nameless = send(server, &discover_with(Some(meta_without("clientInfo")), 103));
        assert_eq!(nameless.status, 200, "{:?}", nameless.message);
    });
}

#[test]
fn an_unknown_version_is_answered_with_the_known_ones() {
    with_server(|server| {
        let request = discover_with(Some(meta("v999.0.0")), 9);
        let answer = send(server, &request.clone().header("MCP-Protocol-Version", "v999.0.0"));
        assert_eq!((answer.status, answer.error_code()), (400, Some(-32022)), "{:?}", answer.message);
        let data = &answer.message["error"]["data"];
        assert_eq!(data["requested"], "v999.0.0");
        let known = send(server, &modern("server/discover", json!({}))).result()["supportedVersions"].clone();
        let supported = data["supported"].as_array().unwrap();
        assert!(!supported.is_empty() && supported.iter().all(|version| known.as_array().unwrap().contains(version)));

        let mismatch = send(server, &request);
        assert_eq!((mismatch.status, mismatch.error_code()), (400, Some(-32020)), "{:?}", mismatch.message);
    });
}

#[test]
fn headers_must_agree_with_the_body() {
    with_server(|server| {
        let call = modern_call("changes.active", json!({}));
        let wrong = [
            call.clone().header("Mcp-Method", "tools/list"),
            call.clone().header("Mcp-Method", "TOOLS/CALL"),
            call.clone().without("Mcp-Method"),
            call.clone().header("Mcp-Name", "change.show"),
            call.clone().without("Mcp-Name"),
        ];
        for request in wrong {
            let answer = send(server, &request);
            assert_eq!((answer.status, answer.error_code()), (400, Some(-32020)), "{request:?}");
        }
        let right = [
            call.clone().without("Mcp-Method").header("mcp-method", "tools/call"),
            call.clone().without("Mcp-Method").header("MCP-METHOD", "tools/call"),
            call.clone().header("Mcp-Name", "  changes.active  "),
            call.clone().header("Mcp-Session-Id", "ignored").header("Last-Event-ID", "ignored"),
        ];
        for request in right {
            assert_eq!(send(server, &request).status, 200, "{request:?}");
        }
    });
}

#[test]
fn methods_of_the_older_era_do_not_exist_in_the_new_one() {
    with_server(|server| {
        let methods = [
            "initialize",
            "ping",
            "logging/setLevel",
            "resources/subscribe",
            "resources/unsubscribe",
            "unknown/method",
        ];
        for method in methods {
            let answer = send(server, &modern(method, json!({})));
            assert_eq!((answer.status, answer.error_code()), (404, Some(-32601)), "{method}: {:?}", answer.message);
        }
    });
}

#[test]
fn get_and_delete_are_not_allowed_to_modern_clients() {
    with_server(|server| {
        for method in ["GET", "DELETE"] {
            let request = Request::new(method, "/mcp").header("MCP-Protocol-Version", "2026-07-28");
            let request = request.header("Accept", "text/event-stream");
            assert_eq!(server.send(&request).status, 405, "{method}");
        }
    });
}

#[test]
fn the_older_era_shakes_hands_pings_and_lists() {
    with_server(|server| {
        let session = Session::open(server, None);
        assert!(session.id().is_none_or(|id| id.bytes().all(|byte| (0x21..=0x7e).contains(&byte))));
        assert_eq!(session.call("ping", json!({})).result(), &json!({}), "exactly an empty object");
        let unknown = session.call("unknown/method", json!({}));
        assert_eq!(unknown.error_code(), Some(-32601));
        let list = session.call("tools/list", json!({}));
        assert!(list.result().get("resultType").is_none(), "a field of 2026 has no place here");
    });
}

#[test]
fn any_worker_answers_any_session() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    let session = Session::open(&server, None);
    let mut served = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let answer = session.call("tools/call", json!({"name": "test_counter", "arguments": {}}));
        served.insert(answer.result()["structuredContent"]["pid"].as_i64());
    }
    assert_eq!(served.len(), 2, "both workers know the session that one of them began: {served:?}");
}

#[test]
fn a_version_of_the_older_era_that_is_unknown_is_answered_with_a_known_one() {
    with_server(|server| {
        let params =
            json!({"protocolVersion": "2024-01-01", "capabilities": {}, "clientInfo": {"name": "e", "version": "1"}});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let answer = send(server, &Request::post_json("/mcp", body.to_string()));
        assert_eq!(answer.result()["protocolVersion"], "2025-11-25");
        assert!(answer.result()["serverInfo"]["name"].is_string());
    });
}

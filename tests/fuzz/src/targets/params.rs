//! The parameters of a method: its name, a line end, the parameters. They are fed in both eras; `META` stands for a `_meta` in order.

use task_mcp_mcp::{RequestHeaders, Route};

use super::mcp::{ENGINE, checked};
use crate::Target;

/// What a client of the modern era says of itself.
const META: &str =
    r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

pub(super) const TARGET: Target = Target {
    name: "params",
    bytes_max: 1_024,
    words: &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"name\":",
        "\"uri\":",
        "\"arguments\":{}",
        "\"cursor\":",
        "\"level\":\"info\"",
        "\"_meta\":META",
        "\"taskId\":\"t\"",
        "\"inputResponses\":{}",
        "\"requestState\":\"s\"",
        "\"notifications\":{}",
        "\"resourceSubscriptions\":[\"a:b\"]",
        "\"protocolVersion\":\"2025-06-18\"",
        "\"capabilities\":{}",
        "\"progressToken\":1",
        "\"x\"",
        "null",
        "1e400",
        "tools/list",
        "tools/call",
        "tasks/update",
    ],
    read,
    reaches: &[
        "invalid-params",
        "method-not-found",
        "list",
        "call-tool",
        "get-prompt",
        "read-resource",
        "list-resources",
        "complete",
        "set-level",
        "subscribe",
        "unsubscribe",
        "listen",
        "get-task",
        "update-task",
        "cancel-task",
        "initialize",
    ],
};

fn read(input: &[u8]) -> &'static str {
    let Ok(text) = std::str::from_utf8(input) else { return "no-text" };
    let (method, params) = text.split_once('\n').unwrap_or((text, "{}"));
    let method = serde_json::Value::from(method).to_string();
    let params = params.replace("META", META);
    let body = format!(r#"{{"jsonrpc":"2.0","id":"fed","method":{method},"params":{params}}}"#);
    for version in ["2025-03-26", "2025-06-18"] {
        let headers = RequestHeaders { protocol_version: Some(version), ..RequestHeaders::default() };
        checked(body.as_bytes(), &ENGINE.route(body.as_bytes(), &headers));
    }
    let route = ENGINE.route_line(body.as_bytes());
    if let Route::Request(asked) = &route {
        assert_eq!(asked.id.as_json(), "\"fed\"");
    }
    checked(body.as_bytes(), &route)
}

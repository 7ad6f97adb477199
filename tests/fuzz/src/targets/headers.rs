//! Headers and body together: lines `name: value`, an empty line, the body.

use std::collections::HashMap;

use task_mcp_mcp::{Era, Method, PARAM_PREFIX, RequestHeaders, Route};

use super::mcp::{ENGINE, TOOL, checked};
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "headers",
    bytes_max: 2_048,
    words: &[
        "mcp-protocol-version: ",
        "mcp-method: ",
        "mcp-name: ",
        "mcp-param-region: ",
        "mcp-param-limit: ",
        "mcp-param-dry: ",
        "2026-07-28",
        "2025-11-25",
        "tools/call",
        "sql",
        "=?base64?",
        "?=",
        "SGVsbG8=",
        "\n",
        "\n\n",
        " ",
        "\t",
        "42.0",
        "4.2e1",
        "true",
        "null",
        "\u{e9}",
        "\"region\":",
        "\"limit\":",
        "Hello",
    ],
    read,
    reaches: &[
        "header-mismatch",
        "invalid-params",
        "unsupported-version",
        "method-not-found",
        "call-tool",
        "list",
        "get-task",
    ],
};

fn read(input: &[u8]) -> &'static str {
    let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    let (head, rest) = input.split_at_checked(end).unwrap_or_default();
    let body = rest.get(2..).unwrap_or_default();
    let lines = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((std::str::from_utf8(line.get(..colon)?).ok()?, line.get(colon + 1..)?))
    });
    let all: Vec<(&str, &[u8])> = lines.collect();
    let known: HashMap<&str, &str> =
        all.iter().map(|(name, value)| (*name, std::str::from_utf8(value).unwrap_or_default())).collect();
    let headers = RequestHeaders {
        protocol_version: known.get("mcp-protocol-version").copied(),
        method: known.get("mcp-method").copied(),
        name: known.get("mcp-name").copied(),
        params: all.into_iter().filter(|(name, _)| name.starts_with(PARAM_PREFIX)).collect(),
    };
    let route = ENGINE.route(body, &headers);
    if let Route::Request(asked) = &route
        && asked.era == Era::Modern
    {
        assert_eq!(headers.protocol_version.map(str::trim), Some("2026-07-28"), "who says nothing is not served");
        assert!(headers.method.is_some());
        if let Method::CallTool(run) = &asked.method {
            assert!(headers.name.is_some());
            assert!(run.name != TOOL || agrees(run.arguments, &headers), "{} {headers:?}", run.arguments);
        }
    }
    checked(body, &route)
}

/// Whether what is said of the region is said in header and body, or in neither.
fn agrees(arguments: &str, headers: &RequestHeaders<'_>) -> bool {
    let Ok(arguments) = serde_json::from_str::<serde_json::Value>(arguments) else { return true };
    let said = headers.params.iter().filter(|(name, _)| *name == "mcp-param-region").count();
    match arguments.get("region") {
        Some(serde_json::Value::String(_)) => said == 1,
        None | Some(serde_json::Value::Null) => said == 0,
        Some(_) => true,
    }
}

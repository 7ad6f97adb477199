//! A whole body, without headers and with those of each era.

use task_mcp_mcp::RequestHeaders;

use super::mcp::{ENGINE, checked};
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "envelope",
    bytes_max: 2_048,
    words: &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u0000",
        "\\ud800",
        "null",
        "true",
        "-1",
        "1e400",
        "\"id\":",
        "\"jsonrpc\":\"2.0\",",
        "\"method\":\"ping\"",
        "\"params\":{",
        "\"_meta\":{",
        "\"result\":{}",
        "\"error\":{}",
        "tools/call",
        "server/discover",
        "initialize",
        "9007199254740993",
        "\n",
        "\u{feff}",
        "\u{2028}",
    ],
    read,
    reaches: &[
        "parse-error",
        "invalid-request",
        "invalid-params",
        "method-not-found",
        "unsupported-version",
        "notification",
        "response",
        "batch",
        "ping",
        "initialize",
        "discover",
        "call-tool",
    ],
};

fn read(input: &[u8]) -> &'static str {
    for version in ["2025-03-26", "2025-11-25", "2026-07-28", "v999"] {
        let headers = RequestHeaders { protocol_version: Some(version), ..RequestHeaders::default() };
        checked(input, &ENGINE.route(input, &headers));
    }
    let (line, bare) = (ENGINE.route_line(input), ENGINE.route(input, &RequestHeaders::default()));
    checked(input, &bare);
    checked(input, &line)
}

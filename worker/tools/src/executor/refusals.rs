//! What callers are told when a call is not run, or not waited for.

use std::time::Duration;

use serde_json::json;

use crate::error::{ToolError, code};

pub(super) fn unknown_tool() -> ToolError {
    ToolError::new(code::TOOL_NOT_FOUND, "no tool has that name").with_hint("the method `tools/list` names the tools")
}

pub(super) fn insufficient_scope(missing: &str, needed: &[&str]) -> ToolError {
    ToolError::new(code::INSUFFICIENT_SCOPE, format!("the tool needs the scope `{missing}`"))
        .with_hint("call with a token that holds every scope the tool needs")
        .with_details(json!({ "scopes": needed }))
}

pub(super) fn busy(limit: usize) -> ToolError {
    let message = format!("{limit} calls of this tool run already (tools.concurrency)");
    ToolError::new(code::OVERLOADED, message).with_hint("try again in a moment; nothing was done")
}

/// One that was asked away from its place.
pub(crate) fn no_place_again(limit: usize) -> ToolError {
    let message = format!("{limit} other calls of this tool run now that the client has answered (tools.concurrency)");
    ToolError::new(code::UNANSWERABLE, message).with_hint("call again in a moment; nothing was done")
}

pub(super) fn shutting_down(read_only: bool) -> ToolError {
    let (message, hint) = if read_only {
        ("the server stops and the call was not finished in time", "send it again")
    } else {
        (
            "the server stops and the outcome of the write is not known yet",
            "look whether it was done before you send it again",
        )
    };
    ToolError::new(code::SERVER_SHUTTING_DOWN, message).with_hint(hint)
}

pub(super) fn too_slow(deadline: Duration) -> ToolError {
    let limit_ms = deadline.as_millis();
    ToolError::new(code::DEADLINE_EXCEEDED, format!("the call took longer than {limit_ms} ms (tools.deadline_ms)"))
        .with_hint("try again later")
}

pub(super) fn too_large(bytes: usize, limit: usize) -> ToolError {
    let message = format!("the result has {bytes} bytes, the limit is {limit} (limits.response_bytes)");
    ToolError::new(code::RESPONSE_TOO_LARGE, message).with_hint("ask for a smaller page")
}

pub(super) fn in_progress() -> ToolError {
    ToolError::new(code::IDEMPOTENCY_IN_PROGRESS, "the first call with this idempotency key is still running")
        .with_hint("send it again in a moment, under the same key: you get the first call's answer")
        .with_details(json!({ "status": 409 }))
}

pub(super) fn conflict() -> ToolError {
    ToolError::new(code::IDEMPOTENCY_CONFLICT, "this idempotency key belongs to a call with other arguments")
        .with_hint("use a new key for every new call")
        .with_details(json!({ "status": 422 }))
}

pub(super) fn outcome_unknown() -> ToolError {
    let message = "a call with this idempotency key was begun, and what became of it is not known";
    ToolError::new(code::OUTCOME_UNKNOWN, message)
        .with_hint("look whether it was done, as with `change.show`; then go on, or send it under a new key")
        .with_details(json!({ "status": 409 }))
}

pub(super) fn ledger_unavailable() -> ToolError {
    let message = "the record of idempotency keys cannot be reached, so the call was not run";
    ToolError::new(code::IDEMPOTENCY_UNAVAILABLE, message)
        .with_hint("try again later under the same key; without a key the call is run, but a repeat of it is too")
        .with_details(json!({ "status": 503 }))
}

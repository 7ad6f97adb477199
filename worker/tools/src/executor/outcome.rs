//! What a run came to, in the forms in which it is answered and kept.

use bytes::Bytes;
use task_mcp_cache::Value;
use task_mcp_mcp::{CallResult, json_string};

use super::refusals;
use crate::error::ToolError;
use crate::tool::Output;

/// An output as the fragments that dialects wrap.
pub(super) fn fragments(output: Output) -> CallResult {
    let structured = Bytes::from(output.into_json());
    from_structured(structured)
}

/// The same from the structured fragment: the text is always a form of it.
pub(super) fn from_structured(structured: Bytes) -> CallResult {
    let text = json_string(std::str::from_utf8(&structured).unwrap_or_default());
    CallResult { structured: Some(structured), text, is_error: false }
}

/// The limit, in bytes, holds for what was only read: what was written stays written, and its caller must hear so.
pub(super) fn within(result: CallResult, limit: usize) -> Result<CallResult, ToolError> {
    match result.structured.as_ref().map_or(0, Bytes::len) {
        bytes if bytes > limit => Err(refusals::too_large(bytes, limit)),
        _ => Ok(result),
    }
}

/// As the cache keeps it.
pub(super) fn to_value(outcome: Result<CallResult, ToolError>) -> Value {
    match outcome {
        Ok(CallResult { structured, text, .. }) => Value::Result { structured: structured.unwrap_or_default(), text },
        Err(error) => Value::Error(error.to_json()),
    }
}

/// As it is answered. An error that cannot be read was not written by this program.
pub(super) fn from_value(value: Value) -> Result<CallResult, ToolError> {
    match value {
        Value::Result { structured, text } => Ok(CallResult { structured: Some(structured), text, is_error: false }),
        Value::Error(error) => Err(ToolError::from_json(&error).unwrap_or_else(ToolError::internal)),
    }
}

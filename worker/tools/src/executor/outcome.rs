//! What a run came to, in the forms in which it is answered and kept.
//!
//! The cache and the ledger keep bytes and know nothing of their meaning. A structured result is kept as it is, because its text is
//! always a form of it. Blocks stand in the place of the text and begin with `[`, those of a failed result with `!`. An error of the
//! protocol is kept as `{"rpc":…}`. That a tool has to ask its caller is told to whoever waits for the same, and never kept.

use bytes::Bytes;
use serde_json::{Value as Json, json};
use task_mcp_cache::Value;
use task_mcp_mcp::{Blocks, CallResult, Questions, RpcError, json_string};

use super::refusals;
use crate::error::ToolError;
use crate::stop::Stop;
use crate::tool::Output;

/// Before the blocks of a failed result.
const FAILED: u8 = b'!';

/// That a tool has to ask, in the place of an error. What it asks is each caller's own matter.
const ASKS: &[u8] = br#"{"asks":true}"#;

/// An output as the fragments that dialects wrap.
pub(super) fn fragments(output: Output) -> CallResult {
    let Output { structured, blocks, is_error, .. } = output;
    match (structured, blocks) {
        (Some(structured), None) => CallResult { is_error, ..from_structured(Bytes::from(structured)) },
        (structured, Some(blocks)) => {
            CallResult { structured: structured.map(Bytes::from), content: Blocks::List(blocks.into()), is_error }
        }
        (None, None) => CallResult { structured: None, content: Blocks::List(Bytes::from_static(b"[]")), is_error },
    }
}

/// The same from the structured fragment: the text is always a form of it.
pub(super) fn from_structured(structured: Bytes) -> CallResult {
    let text = json_string(std::str::from_utf8(&structured).unwrap_or_default());
    CallResult { structured: Some(structured), content: Blocks::Text(text), is_error: false }
}

/// The limit, in bytes, holds for what was only read: what was written stays written, and its caller must hear so.
pub(super) fn within(result: CallResult, limit: usize) -> Result<CallResult, Stop> {
    let bytes = match (&result.structured, &result.content) {
        (Some(structured), _) => structured.len(),
        (None, Blocks::Text(content) | Blocks::List(content)) => content.len(),
    };
    if bytes > limit { Err(refusals::too_large(bytes, limit).into()) } else { Ok(result) }
}

/// As the cache keeps it.
pub(super) fn to_value(outcome: Result<CallResult, Stop>) -> Value {
    match outcome {
        Ok(CallResult { structured, content, is_error }) => {
            let text = match content {
                Blocks::Text(text) => text,
                Blocks::List(list) if is_error => [&[FAILED], list.as_ref()].concat().into(),
                Blocks::List(list) => list,
            };
            Value::Result { structured: structured.unwrap_or_default(), text }
        }
        Err(stop) => Value::Error(stop_to_json(stop)),
    }
}

/// As it is answered. An error that cannot be read was not written by this program.
pub(super) fn from_value(value: Value) -> Result<CallResult, Stop> {
    match value {
        Value::Result { structured, mut text } => {
            let is_error = text.first() == Some(&FAILED);
            let content = match text.first() {
                Some(&FAILED) => Blocks::List(text.split_off(1)),
                Some(b'[') => Blocks::List(text),
                _ => Blocks::Text(text),
            };
            Ok(CallResult { structured: Some(structured).filter(|bytes| !bytes.is_empty()), content, is_error })
        }
        Value::Error(error) => Err(stop_from_json(&error).unwrap_or_else(|| ToolError::internal().into())),
    }
}

/// Whether a result may be kept for other calls.
pub(super) fn can_be_kept(result: &CallResult) -> bool {
    !result.is_error && matches!(result.content, Blocks::Text(_))
}

/// The JSON an error is kept as.
pub(super) fn stop_to_json(stop: Stop) -> Bytes {
    match stop {
        Stop::NeedsInput { .. } => Bytes::from_static(ASKS),
        Stop::Protocol(RpcError { code, message, data, status }) => {
            let kept = json!({ "rpc": { "code": code, "message": message, "data": data, "status": status } });
            kept.to_string().into()
        }
        Stop::Error(error) => error.to_json(),
    }
}

/// The error of that JSON; `None` if this version did not write it.
pub(super) fn stop_from_json(kept: &[u8]) -> Option<Stop> {
    if kept == ASKS {
        return Some(Stop::NeedsInput { about: String::new(), questions: Questions::default() });
    }
    if let Some(error) = ToolError::from_json(kept) {
        return Some(error.into());
    }
    let kept: Json = serde_json::from_slice(kept).ok()?;
    let rpc = kept.get("rpc")?;
    let mut error = RpcError::new(i32::try_from(rpc.get("code")?.as_i64()?).ok()?, rpc.get("message")?.as_str()?)
        .with_status(u16::try_from(rpc.get("status")?.as_u64()?).ok()?);
    error.data = rpc.get("data").filter(|data| !data.is_null()).cloned();
    Some(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_comes_back_from_the_cache_as_it_was() {
        let blocks = Bytes::from_static(br#"[{"type":"text","text":"x"}]"#);
        let list = |is_error| CallResult { structured: None, content: Blocks::List(blocks.clone()), is_error };
        let error = RpcError::invalid_params("no").with_data(json!({ "uri": "x" })).with_status(404);
        for outcome in [
            Ok(from_structured(Bytes::from_static(b"{\"a\":1}"))),
            Ok(list(false)),
            Ok(list(true)),
            Err(Stop::Protocol(error)),
            Err(Stop::Protocol(RpcError::internal("x"))),
            Err(ToolError::new("EX", "y").with_hint("z").into()),
            Err(Stop::NeedsInput { about: String::new(), questions: Questions::default() }),
        ] {
            assert_eq!(from_value(to_value(outcome.clone())), outcome);
        }
        assert!(can_be_kept(&from_structured(Bytes::new())) && !can_be_kept(&list(false)));
    }
}

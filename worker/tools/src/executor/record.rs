//! An answer as the ledger keeps it, so that a repeat gets the same bytes.

use bytes::{Bytes, BytesMut};
use task_mcp_mcp::{Blocks, CallResult};

use super::outcome::{from_structured, stop_from_json, stop_to_json};
use crate::stop::Stop;

/// What the first byte says. Further forms get further letters; a letter of a later version is read as an unknown outcome.
const RESULT: u8 = b'R';
const ERROR: u8 = b'E';
/// Blocks without a structured result, and those of a failed one.
const BLOCKS: u8 = b'B';
const FAILED: u8 = b'F';

/// The outcome as one record.
pub(super) fn encode(outcome: &Result<CallResult, Stop>) -> Bytes {
    let (kind, body) = match outcome {
        // The text is made of the structured result again.
        Ok(CallResult { structured: Some(structured), .. }) => (RESULT, structured.clone()),
        Ok(CallResult { content: Blocks::List(list) | Blocks::Text(list), is_error, .. }) => {
            (if *is_error { FAILED } else { BLOCKS }, list.clone())
        }
        Err(stop) => (ERROR, stop_to_json(stop.clone())),
    };
    let mut record = BytesMut::with_capacity(1 + body.len());
    record.extend_from_slice(&[kind]);
    record.extend_from_slice(&body);
    record.freeze()
}

/// The outcome of a record; `None` if it was not written by this version.
pub(super) fn decode(mut record: Bytes) -> Option<Result<CallResult, Stop>> {
    match record.first().copied()? {
        RESULT => Some(Ok(from_structured(record.split_off(1)))),
        kind @ (BLOCKS | FAILED) => {
            let content = Blocks::List(record.split_off(1));
            Some(Ok(CallResult { structured: None, content, is_error: kind == FAILED }))
        }
        ERROR => stop_from_json(&record.split_off(1)).map(Err),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ToolError;

    #[test]
    fn an_answer_comes_back_as_it_was() {
        let result = from_structured(Bytes::from_static(br#"{"a":"x\n\"y\""}"#));
        assert_eq!(decode(encode(&Ok(result.clone()))), Some(Ok(result)));
        let error: Stop =
            ToolError::new("ELOCKED", "no").with_hint("later").with_details(json!({ "owner": "x" })).into();
        assert_eq!(decode(encode(&Err(error.clone()))), Some(Err(error)));
        for foreign in ["", "X{}", "E", "Enonsense"] {
            assert_eq!(decode(Bytes::from_static(foreign.as_bytes())), None, "{foreign:?}");
        }
    }
}

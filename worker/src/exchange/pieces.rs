//! Results of calls that were told in pieces while the call ran.
//!
//! A client that wants to hear of progress gets the pieces as progress, and the text as a whole in the result if it is not too large.
//! For others the result itself is written as its text comes: first its head, then the text, at last what the tool says beside it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::web::Bytes;
use task_mcp_mcp::{Blocks, CallResult, Engine, Reply, Request, json_string};
use task_mcp_tools::ToolError;

/// What a call has told of its result so far.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Mutex<Told>);

/// What a call has told of its result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing.
    #[default]
    Nothing,
    /// So many bytes as progress, and this is their text.
    Held { bytes: usize, text: String },
    /// So many bytes as progress, which is more than one result may have.
    TooLarge { bytes: usize },
    /// The result itself, up to the end of its text.
    Streamed,
}

impl Pieces {
    /// Whether anything was told.
    pub(crate) fn have_begun(&self) -> bool {
        *self.lock() != Told::Nothing
    }

    /// What was told.
    pub(crate) fn told(&self) -> Told {
        std::mem::take(&mut *self.lock())
    }

    /// Text is told as progress; how many bytes were told by now. The text is held as long as it has at most `bytes_max` bytes.
    pub(crate) fn hold(&self, piece: &str, bytes_max: usize) -> usize {
        let mut told = self.lock();
        let (before, text) = match std::mem::take(&mut *told) {
            Told::Held { bytes, text } => (bytes, Some(text)),
            Told::TooLarge { bytes } => (bytes, None),
            Told::Nothing | Told::Streamed => (0, Some(String::new())),
        };
        let bytes = before.saturating_add(piece.len());
        *told = match text {
            Some(mut text) if bytes <= bytes_max => {
                text.push_str(piece);
                Told::Held { bytes, text }
            }
            _ => Told::TooLarge { bytes },
        };
        bytes
    }

    /// Text is told as the result itself.
    pub(crate) fn stream(&self) {
        *self.lock() = Told::Streamed;
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The beginning of a result, up to its text.
pub(crate) fn head(engine: &Engine, request: &Request<'_>) -> Bytes {
    let mut head = Vec::with_capacity(256);
    Reply::open(&mut head, engine, request, "complete");
    head.extend_from_slice(br#""content":[{"type":"text","text":""#);
    head.into()
}

/// A piece of its text.
pub(crate) fn escaped(piece: &[u8]) -> Bytes {
    // Pieces are text; should one not be, the client sees where.
    let literal = json_string(&String::from_utf8_lossy(piece));
    literal.slice(1..literal.len().saturating_sub(1).max(1))
}

/// The end of a result after its text: what else the tool answers, or why it broke off.
pub(crate) fn tail(outcome: &Result<CallResult, ToolError>) -> Bytes {
    let mut tail = br#""}"#.to_vec();
    let is_error = match outcome {
        Ok(CallResult { structured, content, is_error }) => {
            if let Blocks::List(list) = content {
                let blocks = list.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or_default();
                if !blocks.is_empty() {
                    tail.push(b',');
                    tail.extend_from_slice(blocks);
                }
            }
            tail.push(b']');
            if let Some(structured) = structured {
                tail.extend_from_slice(br#","structuredContent":"#);
                tail.extend_from_slice(structured);
            }
            *is_error
        }
        Err(error) => {
            // An error's text is the one block of its result.
            if let Blocks::Text(text) = error.to_result().content {
                tail.extend_from_slice(br#",{"type":"text","text":"#);
                tail.extend_from_slice(&text);
                tail.push(b'}');
            }
            tail.push(b']');
            true
        }
    };
    tail.extend_from_slice(if is_error { br#","isError":true}}"# } else { br#","isError":false}}"# });
    tail.into()
}

/// The result with the text that was told as progress, and as it is if nothing was, or if it went out in pieces.
pub(crate) fn with_text(result: CallResult, told: Told) -> CallResult {
    let text = match told {
        Told::Nothing | Told::Streamed => return result,
        Told::Held { text, .. } => text,
        Told::TooLarge { bytes } => format!(
            "The text has {bytes} bytes and went out as notifications/progress; one result is limited to fewer \
             (limits.response_bytes)."
        ),
    };
    let block = [br#"{"type":"text","text":"#, json_string(&text).as_ref(), b"}"].concat();
    let mut list = b"[".to_vec();
    list.extend_from_slice(&block);
    if let Blocks::List(blocks) = &result.content {
        let blocks = blocks.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or_default();
        if !blocks.is_empty() {
            list.push(b',');
            list.extend_from_slice(blocks);
        }
    }
    list.push(b']');
    CallResult { content: Blocks::List(list.into()), ..result }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn result(structured: Option<&'static [u8]>, list: &'static [u8]) -> CallResult {
        CallResult {
            structured: structured.map(Bytes::from_static),
            content: Blocks::List(Bytes::from_static(list)),
            is_error: false,
        }
    }

    fn streamed(pieces: &[&str], outcome: &Result<CallResult, ToolError>) -> Value {
        let mut whole = br#"{"result":{"content":[{"type":"text","text":""#.to_vec();
        pieces.iter().for_each(|piece| whole.extend_from_slice(&escaped(piece.as_bytes())));
        whole.extend_from_slice(&tail(outcome));
        serde_json::from_slice::<Value>(&whole).unwrap()["result"].take()
    }

    #[test]
    fn a_result_in_pieces_is_the_one_it_would_be_as_a_whole() {
        let whole = streamed(&["a\"\n", "", "\u{1F980}\u{1}"], &Ok(result(Some(br#"{"n":1}"#), b"[]")));
        let expected = json!({
            "content": [{ "type": "text", "text": "a\"\n\u{1F980}\u{1}" }],
            "structuredContent": { "n": 1 }, "isError": false,
        });
        assert_eq!(whole, expected);
        let more = streamed(&["x"], &Ok(result(None, br#"[{"type":"text","text":"y"}]"#)));
        assert_eq!(more["content"].as_array().unwrap().len(), 2);
        let failed = streamed(&["x"], &Err(ToolError::new("EX", "no")));
        assert_eq!((&failed["isError"], &failed["content"][0]["text"]), (&json!(true), &json!("x")));
        assert!(failed["content"][1]["text"].as_str().unwrap().contains("EX"));
    }

    #[test]
    fn text_is_held_up_to_its_limit_and_counted_beyond() {
        let pieces = Pieces::default();
        assert!(!pieces.have_begun());
        assert_eq!((pieces.hold("abc", 5), pieces.hold("de", 5)), (3, 5));
        assert_eq!(pieces.told(), Told::Held { bytes: 5, text: "abcde".into() });
        assert_eq!((pieces.hold("abc", 5), pieces.hold("def", 5), pieces.hold("g", 5)), (3, 6, 7));
        let told = pieces.told();
        assert_eq!(told, Told::TooLarge { bytes: 7 });
        let Blocks::List(list) = with_text(result(None, b"[]"), told).content else { panic!("it has one form") };
        assert!(serde_json::from_slice::<Value>(&list).unwrap()[0]["text"].as_str().unwrap().contains("7 bytes"));
    }
}

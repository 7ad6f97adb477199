//! Answers as bytes.

use bytes::Bytes;
use serde_json::json;

use crate::error::RpcError;
use crate::message::RequestId;

/// One HTTP answer: a status and a JSON-RPC object.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The JSON-RPC error code inside, if it is an error.
    pub error_code: Option<i32>,
    /// Compact JSON.
    pub body: Bytes,
}

impl Reply {
    /// An error. Without an `id` (it could not be read) the field is left out, as the schema of MCP wants it.
    pub fn error(id: Option<RequestId<'_>>, error: &RpcError) -> Self {
        let mut object = json!({ "code": error.code, "message": error.message });
        if let (Some(data), Some(fields)) = (&error.data, object.as_object_mut()) {
            fields.insert("data".into(), data.clone());
        }
        let body = match id {
            Some(id) => format!(r#"{{"jsonrpc":"2.0","id":{},"error":{object}}}"#, id.as_json()),
            None => format!(r#"{{"jsonrpc":"2.0","error":{object}}}"#),
        };
        Self { status: error.status, error_code: Some(error.code), body: body.into() }
    }

    /// A result that is already JSON.
    pub(crate) fn result(id: RequestId<'_>, result: &str) -> Self {
        let body = [r#"{"jsonrpc":"2.0","id":"#, id.as_json(), r#","result":"#, result, "}"].concat();
        Self { status: 200, error_code: None, body: body.into() }
    }
}

/// The outcome of a tool call as JSON fragments, so that each dialect wraps them without parsing.
#[derive(Debug, Clone, PartialEq)]
pub struct CallResult {
    /// `structuredContent`, compact JSON; errors have none.
    pub structured: Option<Bytes>,
    /// The text form as a JSON string literal, quotes included.
    pub text: Bytes,
    /// Whether the tool failed.
    pub is_error: bool,
}

impl CallResult {
    /// Writes the fields `content`, `structuredContent` and `isError` without the braces around them.
    pub fn write_fields(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#""content":[{"type":"text","text":"#);
        out.extend_from_slice(&self.text);
        out.extend_from_slice(b"}]");
        if let Some(structured) = &self.structured {
            out.extend_from_slice(br#","structuredContent":"#);
            out.extend_from_slice(structured);
        }
        out.extend_from_slice(if self.is_error { br#","isError":true"# } else { br#","isError":false"# });
    }

    /// About how many bytes [`CallResult::write_fields`] writes.
    pub fn size_hint(&self) -> usize {
        self.text.len() + self.structured.as_ref().map_or(0, Bytes::len) + 96
    }
}

/// `text` as a JSON string literal, quotes included. A string always is JSON; the fallback keeps this path free of panics.
pub fn json_string(text: &str) -> Bytes {
    serde_json::to_vec(text).unwrap_or_else(|_| b"\"\"".to_vec()).into()
}

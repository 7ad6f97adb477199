//! Answers as bytes. A result is made of fragments that are JSON already, and its bytes are written once.

use bytes::Bytes;
use serde_json::json;

use crate::engine::Engine;
use crate::error::RpcError;
use crate::message::RequestId;
use crate::request::Request;
use crate::revision::Era;

/// The field of `_meta` that names the stream in every message on it (specification 2026-07-28, "Subscriptions").
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

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

/// How long a client may keep a result, and for whom (specification 2026-07-28, "Caching").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// How long, in milliseconds.
    pub ttl_ms: u64,
    /// Whether it is the same for everybody.
    pub is_public: bool,
}

impl Reply {
    /// An error. Without an `id` (it could not be read) the field is left out, as the schema of MCP wants it.
    pub fn error(id: Option<RequestId<'_>>, error: &RpcError) -> Self {
        let object = error.to_json();
        let body = match id {
            Some(id) => format!(r#"{{"jsonrpc":"2.0","id":{},"error":{object}}}"#, id.as_json()),
            None => format!(r#"{{"jsonrpc":"2.0","error":{object}}}"#),
        };
        Self { status: error.status, error_code: Some(error.code), body: body.into() }
    }

    /// The refusal of a request, in the form of its era.
    pub fn refusal(request: &Request<'_>, error: RpcError) -> Self {
        Self::error(Some(request.id), &error.in_era(request.era))
    }

    /// A result that is already JSON.
    pub(crate) fn result(id: RequestId<'_>, result: &str) -> Self {
        let body = [r#"{"jsonrpc":"2.0","id":"#, id.as_json(), r#","result":"#, result, "}"].concat();
        Self { status: 200, error_code: None, body: body.into() }
    }

    /// A result of `resultType` (which legacy results do not have). `fields` writes its fields as JSON without the braces around them,
    /// about `size` bytes; it may write none.
    pub fn typed(
        engine: &Engine,
        request: &Request<'_>,
        result_type: &str,
        size: usize,
        fields: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        let mut body = Vec::with_capacity(96 + engine.catalog.meta.len() + request.id.as_json().len() + size);
        Self::open(&mut body, engine, request, result_type);
        let at = body.len();
        fields(&mut body);
        // Nothing came after the comma.
        if body.len() == at && body.last() == Some(&b',') {
            body.pop();
        }
        body.extend_from_slice(b"}}");
        Self { status: 200, error_code: None, body: body.into() }
    }

    /// The beginning of a result, up to its own fields; `}}` ends it.
    pub fn open(body: &mut Vec<u8>, engine: &Engine, request: &Request<'_>, result_type: &str) {
        body.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        body.extend_from_slice(request.id.as_json().as_bytes());
        body.extend_from_slice(br#","result":{"#);
        if request.era == Era::Modern {
            body.extend_from_slice(br#""resultType":""#);
            body.extend_from_slice(result_type.as_bytes());
            body.extend_from_slice(br#"","#);
            body.extend_from_slice(engine.catalog.meta.as_bytes());
            body.push(b',');
        }
    }

    /// The result that ends a stream of `subscriptions/listen` (specification 2026-07-28, `SubscriptionsListenResult`).
    pub fn closing(engine: &Engine, request: &Request<'_>) -> Self {
        let id = request.id.as_json();
        let meta = engine.catalog.meta.strip_suffix('}').unwrap_or_default();
        let result = [r#"{"resultType":"complete","#, meta, ",\"", SUBSCRIPTION_ID, "\":", id, "}}"].concat();
        Self::result(request.id, &result)
    }

    /// A result that is complete.
    pub fn complete(engine: &Engine, request: &Request<'_>, size: usize, fields: impl FnOnce(&mut Vec<u8>)) -> Self {
        Self::typed(engine, request, "complete", size, fields)
    }

    /// A complete result that clients may keep; `object` is JSON with at least one field.
    pub fn kept(engine: &Engine, request: &Request<'_>, freshness: Freshness, object: &[u8]) -> Self {
        Self::complete(engine, request, object.len() + 64, |out| {
            if request.era == Era::Modern {
                let scope = if freshness.is_public { "public" } else { "private" };
                out.extend_from_slice(format!("\"ttlMs\":{},\"cacheScope\":\"{scope}\",", freshness.ttl_ms).as_bytes());
            }
            out.extend_from_slice(without_braces(object));
        })
    }

    /// A result whose fields are those of `object`.
    pub fn of_object(engine: &Engine, request: &Request<'_>, result_type: &str, object: &[u8]) -> Self {
        Self::typed(engine, request, result_type, object.len(), |out| out.extend_from_slice(without_braces(object)))
    }
}

/// The fields of a JSON object that this server wrote.
fn without_braces(object: &[u8]) -> &[u8] {
    object.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).unwrap_or_default()
}

/// The outcome of a tool call as JSON fragments, so that each dialect wraps them without parsing.
#[derive(Debug, Clone, PartialEq)]
pub struct CallResult {
    /// `structuredContent`, compact JSON; errors have none.
    pub structured: Option<Bytes>,
    /// `content`.
    pub content: Blocks,
    /// Whether the tool failed.
    pub is_error: bool,
}

/// The content of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Blocks {
    /// One block of text: a JSON string literal, quotes included.
    Text(Bytes),
    /// Blocks of any kind: a JSON list.
    List(Bytes),
}

impl CallResult {
    /// Writes the fields `content`, `structuredContent` and `isError` without the braces around them.
    pub fn write_fields(&self, out: &mut Vec<u8>) {
        match &self.content {
            Blocks::Text(text) => {
                out.extend_from_slice(br#""content":[{"type":"text","text":"#);
                out.extend_from_slice(text);
                out.extend_from_slice(b"}]");
            }
            Blocks::List(list) => {
                out.extend_from_slice(br#""content":"#);
                out.extend_from_slice(list);
            }
        }
        if let Some(structured) = &self.structured {
            out.extend_from_slice(br#","structuredContent":"#);
            out.extend_from_slice(structured);
        }
        out.extend_from_slice(if self.is_error { br#","isError":true"# } else { br#","isError":false"# });
    }

    /// About how many bytes [`CallResult::write_fields`] writes.
    pub fn size_hint(&self) -> usize {
        let content = match &self.content {
            Blocks::Text(bytes) | Blocks::List(bytes) => bytes.len(),
        };
        content + self.structured.as_ref().map_or(0, Bytes::len) + 96
    }
}

/// `text` as a JSON string literal, quotes included. A string always is JSON; the fallback keeps this path free of panics.
pub fn json_string(text: &str) -> Bytes {
    serde_json::to_vec(text).unwrap_or_else(|_| b"\"\"".to_vec()).into()
}

impl RpcError {
    /// The error object.
    pub fn to_json(&self) -> serde_json::Value {
        let mut object = json!({ "code": self.code, "message": self.message });
        if let (Some(data), Some(fields)) = (&self.data, object.as_object_mut()) {
            fields.insert("data".into(), data.clone());
        }
        object
    }
}

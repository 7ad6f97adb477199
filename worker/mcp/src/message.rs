//! One JSON-RPC message, borrowed from the body it came in.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::batch::Batch;
use crate::error::{RpcError, code};

/// The `id` of a request, as the client wrote it. It is echoed byte for byte.
#[derive(Debug, Clone, Copy)]
pub struct RequestId<'a>(&'a RawValue);

impl<'a> RequestId<'a> {
    /// The id of that JSON text, which a transport kept.
    pub fn of(json: &'a RawValue) -> Self {
        Self(json)
    }

    /// The JSON text: a string or an integer.
    pub fn as_json(&self) -> &'a str {
        self.0.get()
    }
}

/// A message by its kind.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Request { id: RequestId<'a>, method: Cow<'a, str>, params: Option<&'a RawValue> },
    Notification { method: Cow<'a, str>, params: Option<&'a RawValue> },
    Response { id: Option<&'a RawValue>, result: Option<&'a RawValue>, error: Option<&'a RawValue> },
    Batch(Batch<'a>),
}

/// Why a body is no message, with the `id` if one could be read.
#[derive(Debug)]
pub(crate) struct Unreadable<'a> {
    pub(crate) id: Option<RequestId<'a>>,
    pub(crate) error: RpcError,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// An `id` of null is there, and wrong; it must not pass for a notification.
fn even_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl<'a> Message<'a> {
    /// Reads one message, or a batch.
    ///
    /// # Errors
    /// -32700 if the body is not JSON in UTF-8, -32600 if it is no JSON-RPC 2.0 message.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Unreadable<'a>> {
        // All of it, for what a field nobody reads is made of is not looked at below.
        let Ok(body) = std::str::from_utf8(body) else {
            let error = RpcError::new(code::PARSE_ERROR, "the body is not JSON: it is not UTF-8");
            return Err(Unreadable { id: None, error });
        };
        if body.trim_ascii_start().starts_with('[') {
            return serde_json::from_str(body).map(Self::Batch).map_err(|error| {
                parse_failure(Some(error)).unwrap_or_else(|| unreadable(None, "the body is no batch of messages"))
            });
        }
        let envelope: Envelope<'a> = match serde_json::from_str(body) {
            Ok(envelope) => envelope,
            Err(error) => {
                // Of an object, a field that is there twice. What is said of anything else holds the client's text, as long as that is.
                let mut message = "the body must be one JSON-RPC 2.0 object".to_owned();
                if body.trim_ascii_start().starts_with('{') {
                    message.push_str(&format!(": {error}"));
                }
                return Err(parse_failure(Some(error)).unwrap_or_else(|| unreadable(None, &message)));
            }
        };
        let id = envelope.id.filter(|id| is_request_id(id.get())).map(RequestId);
        if envelope.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
            return Err(unreadable(id, "the field `jsonrpc` must be \"2.0\""));
        }
        let Some(method) = envelope.method else {
            return if envelope.result.is_some() || envelope.error.is_some() {
                Ok(Self::Response { id: envelope.id, result: envelope.result, error: envelope.error })
            } else {
                Err(unreadable(id, "the field `method` is missing"))
            };
        };
        let Ok(method) = serde_json::from_str::<Text<'a>>(method.get()) else {
            return Err(unreadable(id, "the field `method` must be a string"));
        };
        if envelope.id.is_none() {
            return Ok(Self::Notification { method: method.0, params: envelope.params });
        }
        let Some(id) = id else {
            return Err(unreadable(None, "the field `id` must be a string or an integer"));
        };
        Ok(Self::Request { id, method: method.0, params: envelope.params })
    }
}

/// A string that borrows from the body unless it holds escapes.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Fails with -32700 where the text is not JSON, and with nothing where it is JSON of another shape.
fn parse_failure<'a>(error: Option<serde_json::Error>) -> Option<Unreadable<'a>> {
    let error = error.filter(|error| !error.is_data())?;
    let message = format!("the body is not JSON: line {}, column {}", error.line(), error.column());
    Some(Unreadable { id: None, error: RpcError::new(code::PARSE_ERROR, message) })
}

fn unreadable<'a>(id: Option<RequestId<'a>>, message: &str) -> Unreadable<'a> {
    Unreadable { id, error: RpcError::invalid_request(message) }
}

/// Whether it is a string or an integer: what an id and a progress token may be.
pub(crate) fn is_request_id(json: &str) -> bool {
    json.starts_with('"') || json.parse::<i64>().is_ok() || json.parse::<u64>().is_ok()
}

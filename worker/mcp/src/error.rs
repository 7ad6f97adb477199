//! Protocol errors: what a client is told when its message cannot be served.

use serde_json::{Value, json};

use crate::capabilities::Capability;
use crate::revision::{Era, Revision};

/// Error codes of JSON-RPC 2.0 and of the specification (2026-07-28, "Error Codes").
pub mod code {
    /// The body is not JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// The body is JSON but no message.
    pub const INVALID_REQUEST: i32 = -32600;
    /// The method is not implemented.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// The parameters do not fit the method.
    pub const INVALID_PARAMS: i32 = -32602;
    /// The fault is the server's.
    pub const INTERNAL_ERROR: i32 = -32603;
    /// A header and the body disagree, or a required header is missing.
    pub const HEADER_MISMATCH: i32 = -32020;
    /// The client has not declared a capability without which the request cannot be served.
    pub const MISSING_REQUIRED_CLIENT_CAPABILITY: i32 = -32021;
    /// The version named is not spoken here.
    pub const UNSUPPORTED_PROTOCOL_VERSION: i32 = -32022;
    /// There is no such resource: until 2025-11-25; later it is [`INVALID_PARAMS`].
    pub const RESOURCE_NOT_FOUND: i32 = -32002;
    /// A limit of this server is reached; of the codes an implementation may define (JSON-RPC 2.0, section 5.1).
    pub const LIMITED: i32 = -32000;
}

/// A JSON-RPC error object, with the HTTP status it travels under.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// One of [`code`].
    pub code: i32,
    /// What is wrong, and what to do about it.
    pub message: String,
    /// More, for programs.
    pub data: Option<Value>,
    /// HTTP status.
    pub status: u16,
}

impl RpcError {
    /// An error without data under HTTP 400.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None, status: 400 }
    }

    /// The same error under another HTTP status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same error with data.
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// What is wrong with a request that was read: HTTP 400 in the modern era; the legacy era carries such errors in a 200.
    pub fn in_era(self, era: Era) -> Self {
        match era {
            Era::Modern => self,
            Era::Legacy => self.with_status(200),
        }
    }

    /// -32600: what was sent is no message of the protocol.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_REQUEST, message)
    }

    /// -32602: the parameters do not fit.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMS, message)
    }

    /// -32603: the fault is the server's; its log says more.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(code::INTERNAL_ERROR, message).with_status(500)
    }

    /// -32021: the client has not declared `capability`.
    pub fn missing_capability(capability: Capability) -> Self {
        Self::new(code::MISSING_REQUIRED_CLIENT_CAPABILITY, "Missing required client capability")
            .with_data(json!({ "requiredCapabilities": capability.declaration() }))
    }

    pub(crate) fn header_mismatch(message: impl Into<String>) -> Self {
        Self::new(code::HEADER_MISMATCH, message)
    }

    pub(crate) fn method_not_found(method: &str, era: Era) -> Self {
        let status = match era {
            Era::Modern => 404,
            Era::Legacy => 200,
        };
        Self::new(code::METHOD_NOT_FOUND, format!("Method not found: {}", shown(method))).with_status(status)
    }

    pub(crate) fn unsupported_version(requested: &str) -> Self {
        // A legacy revision is spoken after a handshake only: who asks for it request by request must not be sent back to it.
        let is_legacy = Revision::parse(requested).is_some_and(|revision| revision.era() == Era::Legacy);
        let offered = |revision: &&Revision| !is_legacy || revision.era() == Era::Modern;
        let supported: Vec<&str> = Revision::ALL.iter().filter(offered).map(|revision| revision.name()).collect();
        let message = match is_legacy {
            true => "Unsupported protocol version: this one is spoken after `initialize`, not in `_meta`",
            false => "Unsupported protocol version",
        };
        Self::new(code::UNSUPPORTED_PROTOCOL_VERSION, message)
            .with_data(json!({ "supported": supported, "requested": shown(requested) }))
    }
}

/// A client's text as it may stand in an error: bounded, without control characters.
pub fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 128;
    let mut out: String = text.chars().take(CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

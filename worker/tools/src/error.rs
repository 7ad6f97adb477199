//! What a caller is told when a tool cannot or will not.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use task_mcp_mcp::{Blocks, CallResult, json_string};

/// Error codes that are the executor's own. A tool's domain has further ones; [`Tool::error_codes`](crate::Tool::error_codes)
/// names them, because every label of a metric must be known before the first call.
pub mod code {
    /// The arguments do not fit the tool's schema.
    pub const INVALID_INPUT: &str = "INVALID_INPUT";
    /// No tool has that name.
    pub const TOOL_NOT_FOUND: &str = "TOOL_NOT_FOUND";
    /// The call took longer than its deadline.
    pub const DEADLINE_EXCEEDED: &str = "DEADLINE_EXCEEDED";
    /// The principal does not hold a scope the tool needs.
    pub const INSUFFICIENT_SCOPE: &str = "INSUFFICIENT_SCOPE";
    /// Too many calls of the tool run.
    pub const OVERLOADED: &str = "OVERLOADED";
    /// The result is larger than the limit.
    pub const RESPONSE_TOO_LARGE: &str = "RESPONSE_TOO_LARGE";
    /// The server stops, and the call was not finished in the time that was left.
    pub const SERVER_SHUTTING_DOWN: &str = "SERVER_SHUTTING_DOWN";
    /// The first call with this idempotency key is still running.
    pub const IDEMPOTENCY_IN_PROGRESS: &str = "IDEMPOTENCY_IN_PROGRESS";
    /// The idempotency key belongs to a call with other arguments.
    pub const IDEMPOTENCY_CONFLICT: &str = "IDEMPOTENCY_CONFLICT";
    /// The record of idempotency keys cannot be reached; the call was not run.
    pub const IDEMPOTENCY_UNAVAILABLE: &str = "IDEMPOTENCY_UNAVAILABLE";
    /// A call with this idempotency key was begun, and nobody knows what became of it.
    pub const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";
    /// The client would have to be asked, and cannot be, or did not answer.
    pub const UNANSWERABLE: &str = "UNANSWERABLE";
    /// The fault is the server's; its log says more.
    pub const INTERNAL_ERROR: &str = "INTERNAL_ERROR";

    /// All of the above.
    pub const ALL: [&str; 13] = [
        INVALID_INPUT,
        TOOL_NOT_FOUND,
        DEADLINE_EXCEEDED,
        INSUFFICIENT_SCOPE,
        OVERLOADED,
        RESPONSE_TOO_LARGE,
        SERVER_SHUTTING_DOWN,
        IDEMPOTENCY_IN_PROGRESS,
        IDEMPOTENCY_CONFLICT,
        IDEMPOTENCY_UNAVAILABLE,
        OUTCOME_UNKNOWN,
        UNANSWERABLE,
        INTERNAL_ERROR,
    ];
}

/// A failed call, as every dialect tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ToolError {
    /// Stable code for programs.
    pub code: Cow<'static, str>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// More, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl ToolError {
    /// An error without hint and details.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), hint: None, details: None }
    }

    /// The same error with a remedy.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with details.
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// What a caller is told of a fault that is ours: nothing internal.
    pub fn internal() -> Self {
        Self::new(code::INTERNAL_ERROR, "the tool failed inside the server")
            .with_hint("try again; the server's log names the cause")
    }

    /// The error as a tool result: a model reads it in the text, which is JSON for programs too. There is no
    /// `structuredContent`, because that would have to fit the tool's output schema.
    pub fn to_result(&self) -> CallResult {
        let text = serde_json::to_string(&serde_json::json!({ "error": self })).unwrap_or_else(|_| self.to_string());
        CallResult { structured: None, content: Blocks::Text(json_string(&text)), is_error: true }
    }

    /// The error of a JSON object that [`ToolError::to_json`] wrote; `None` for anything else.
    pub(crate) fn from_json(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The error object as JSON.
    pub fn to_json(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_else(|_| b"{}".to_vec()).into()
    }
}

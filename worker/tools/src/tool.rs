//! What a tool is, and what a call knows of its caller.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use task_mcp_mcp::ToolDescription;

use crate::error::ToolError;

/// A future on the heap, so that tools of many kinds fit one registry.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    /// The principal of that name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The one everybody is where no token is asked for.
    pub fn anonymous() -> Self {
        Self::new("anonymous")
    }

    /// Its name: stable, and never a secret.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// What a tool knows of the call it serves.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who calls.
    pub principal: Principal,
}

/// What a tool answers: JSON text, serialised once. Every dialect wraps it and none parses it.
#[derive(Debug, Clone, PartialEq)]
pub struct Output(String);

impl Output {
    /// Serialises an answer.
    ///
    /// # Errors
    /// [`code::INTERNAL_ERROR`](crate::code::INTERNAL_ERROR) if the value cannot be JSON.
    pub fn of(value: &impl Serialize) -> Result<Self, ToolError> {
        serde_json::to_string(value).map(Self).map_err(|error| {
            tracing::error!(error = %error, "An answer cannot be serialised.");
            ToolError::internal()
        })
    }

    pub(crate) fn into_json(self) -> String {
        self.0
    }
}

/// One tool.
pub trait Tool: Send + Sync + 'static {
    /// What `tools/list` shows: name, schemas and hints.
    fn describe(&self) -> ToolDescription;

    /// The codes its own errors carry.
    fn error_codes(&self) -> &'static [&'static str];

    /// Runs one call. The arguments fit the input schema; the output fits the output schema.
    fn call<'a>(&'a self, call: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, ToolError>>;
}

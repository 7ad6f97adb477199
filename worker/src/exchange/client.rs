//! Who sends requests.

use task_mcp_mcp::{ClientCapabilities, LogLevel, Request, Revision};
use task_mcp_tools::{IdempotencyKey, Principal};

/// Who sends a request: of a modern client the request itself says it, of a legacy one its session, if it has one.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) principal: Principal,
    /// The revision it speaks, if it is known.
    pub(crate) revision: Option<Revision>,
    pub(crate) capabilities: ClientCapabilities,
    /// Least severe messages it wants to hear; none without one.
    pub(crate) log_level: Option<LogLevel>,
    /// The id of its session, as hexadecimal digits.
    pub(crate) session: Option<String>,
    /// The idempotency key of the request, wherever it was.
    pub(crate) idempotency: Option<IdempotencyKey>,
}

impl Client {
    /// A client that says all of itself in its request.
    pub(crate) fn of_request(principal: Principal, request: &Request<'_>) -> Self {
        Self {
            principal,
            revision: request.revision,
            capabilities: request.capabilities,
            log_level: request.log_level,
            session: None,
            idempotency: None,
        }
    }
}

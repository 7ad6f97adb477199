//! Who sends requests.

use std::net::IpAddr;
use std::sync::Arc;

use task_mcp_mcp::{ClientCapabilities, LogLevel, Request, Revision};
use task_mcp_tools::{IdempotencyKey, Principal};

use super::mailbox::Mailbox;
use crate::sessions::Session;

/// Who sends a request: of a modern client the request itself says it, of a legacy one its session, if it has one.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) principal: Principal,
    /// The revision it speaks, if it is known.
    pub(crate) revision: Option<Revision>,
    pub(crate) capabilities: ClientCapabilities,
    /// Least severe messages it wants to hear; none without one. What a session wants is looked up by whoever sends such a message, so
    /// here it wants all.
    pub(crate) log_level: Option<LogLevel>,
    /// Its session, if it has one.
    pub(crate) session: Option<Session>,
    /// Where it is, if that is what tells it from others: without tokens everybody is the same principal.
    pub(crate) address: Option<IpAddr>,
    /// The idempotency key of the request, wherever it was.
    pub(crate) idempotency: Option<IdempotencyKey>,
    /// Where its answers arrive, if they all arrive at this process.
    pub(crate) mailbox: Option<Arc<dyn Mailbox>>,
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
            address: None,
            idempotency: None,
            mailbox: None,
        }
    }

    /// The client of a session, whatever it sends.
    pub(crate) fn of_session(principal: Principal, session: Session, address: Option<IpAddr>) -> Self {
        Self {
            principal,
            revision: None,
            capabilities: ClientCapabilities::NONE,
            log_level: None,
            session: None,
            address,
            idempotency: None,
            mailbox: None,
        }
        .in_session(session)
    }

    /// The same in a session, which says what the request does not.
    pub(crate) fn in_session(mut self, session: Session) -> Self {
        self.revision = Some(session.sealed.revision);
        self.capabilities = session.sealed.capabilities;
        self.log_level = Some(LogLevel::Debug);
        self.session = Some(session);
        self
    }
}

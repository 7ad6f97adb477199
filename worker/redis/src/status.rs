//! How it stands with a connection.

use std::time::Instant;

use crate::{breaker::BreakerState, identity::ServerId};

/// How it stands with the connection, for readiness and reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The connection.
    pub connection: ConnectionStatus,
    /// Whether commands are sent.
    pub breaker: BreakerState,
}

/// How it stands with the connection itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// It is being made, and nothing has gone wrong with it yet.
    Connecting,
    /// It is there.
    Up {
        /// The server at its other end.
        server: ServerId,
    },
    /// It could not be made; it is tried again.
    Down {
        /// Why, without secrets.
        reason: String,
        /// Since when.
        since: Instant,
    },
}

impl Status {
    /// Whether a command would be sent now.
    pub fn is_up(&self) -> bool {
        matches!(self.connection, ConnectionStatus::Up { .. }) && self.breaker == BreakerState::Closed
    }
}

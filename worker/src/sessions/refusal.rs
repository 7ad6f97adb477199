//! Why a request is not served in a session.

use task_mcp_mcp::RpcError;
use task_mcp_mcp::sealed::SealError;
use task_mcp_state::StateError;

/// The code of "Session not found". The specification (2025-11-25, "Transports", session management) asks for the status 404 and
/// names no code; this is the TypeScript SDK's, which other servers and clients took over.
pub(crate) const SESSION_NOT_FOUND: i32 = -32001;

/// Why a request is not served in the session it names.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionRefusal {
    /// It is no session of this principal, or its time is over.
    #[error("it is no session of this principal")]
    NotFound(#[source] SealError),
    /// It was ended.
    #[error("the session was ended")]
    Ended,
    /// Nobody used it for too long.
    #[error("the session was left unused for too long (state.session_idle_s)")]
    Idle,
    /// Whether it has ended cannot be told.
    #[error("whether the session has ended cannot be told")]
    Unavailable(#[from] StateError),
}

impl SessionRefusal {
    /// What the client is told: of everything that is no session, the same.
    pub(crate) fn to_rpc_error(&self) -> RpcError {
        match self {
            Self::NotFound(_) | Self::Ended | Self::Idle => {
                RpcError::new(SESSION_NOT_FOUND, "Session not found").with_status(404)
            }
            Self::Unavailable(_) => RpcError::new(
                task_mcp_mcp::code::INTERNAL_ERROR,
                "The state of the server cannot be reached; try again in a moment",
            )
            .with_status(503),
        }
    }
}

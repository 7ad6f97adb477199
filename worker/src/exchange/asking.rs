//! Questions on the stream of a legacy client, whose answers may arrive at any worker.
//!
//! Source: specification 2025-11-25, "Streamable HTTP", sending messages to the server.

use task_mcp_mcp::{Answers, Questions, Unanswered};

use super::outlet::Outlet;

/// Asks the client of one session.
#[derive(Debug)]
pub(crate) struct SessionAsking {}

impl SessionAsking {
    /// Sends the questions and waits for all answers.
    pub(crate) async fn ask(&self, _questions: &Questions, _outlet: &Outlet) -> Result<Answers, Unanswered> {
        Err(Unanswered::Unavailable)
    }
}

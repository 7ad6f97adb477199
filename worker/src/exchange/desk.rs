//! What asking clients takes of a process.

use std::sync::Arc;

use task_mcp_state::{Answers, Nonces, State};
use task_mcp_telemetry::McpMetrics;

/// Where answers arrive, what may be used once, and what is counted of both. One for each process, shared by its calls.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) answers: Answers,
    pub(crate) nonces: Nonces,
    pub(crate) metrics: McpMetrics,
}

impl Desk {
    pub(crate) fn new(state: &State, metrics: McpMetrics) -> Arc<Self> {
        Arc::new(Self { answers: state.answers().clone(), nonces: state.nonces().clone(), metrics })
    }
}

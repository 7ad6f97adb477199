//! What asking clients takes of a process.

use std::sync::Arc;

use task_mcp_state::{Answers, Nonces, State};
use task_mcp_telemetry::McpMetrics;
use tokio::sync::Semaphore;

/// Questions of one process that may be open at the same time on the streams of clients. The calls that wait for them hold none of
/// the places of their tools, so this is what limits them: a few kilobytes each.
pub(crate) const QUESTIONS_MAX: usize = 4_096;

/// Where answers arrive, what may be used once, and what is counted of both. One for each process, shared by its calls.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) answers: Answers,
    pub(crate) nonces: Nonces,
    pub(crate) metrics: McpMetrics,
    /// One for each question that may still be opened.
    pub(crate) questions: Semaphore,
}

impl Desk {
    pub(crate) fn new(state: &State, metrics: McpMetrics) -> Arc<Self> {
        Arc::new(Self {
            answers: state.answers().clone(),
            nonces: state.nonces().clone(),
            metrics,
            questions: Semaphore::new(QUESTIONS_MAX),
        })
    }
}

//! Why a run could not be made.

use std::io;

/// A run that did not happen; what happens to single requests is an [`Outcome`](crate::Outcome) instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the plan is outside its limits.
    #[error("plan: {field} is {value}, but must be {limit}")]
    Plan {
        /// The field at fault.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        limit: &'static str,
    },
    /// The runtime that drives the connections could not be built.
    #[error("cannot start the load generator's runtime")]
    Runtime(#[source] io::Error),
    /// A histogram of latencies could not be allocated.
    #[error("cannot allocate the latency histogram")]
    Histogram(#[source] hdrhistogram::CreationError),
    /// A worker of the generator panicked, so that its counts are lost.
    #[error("a connection of the load generator panicked; its counts are lost")]
    Lost(#[source] tokio::task::JoinError),
}

//! Why state cannot be read or written.

use std::time::Duration;

use task_mcp_redis::RedisError;

/// Why state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Redis cannot be used.
    #[error("the state in Redis cannot be reached")]
    Redis(#[from] RedisError),
    /// It took longer than it may.
    #[error("the state did not answer within {} ms (state.timeout_ms)", limit.as_millis())]
    Timeout {
        /// How long it may take.
        limit: Duration,
    },
}

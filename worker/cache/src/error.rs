//! Why a cache cannot be opened or asked.

use task_mcp_redis::RedisError;

/// Why a cache cannot be opened or asked.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The settings of Redis cannot be used.
    #[error("the cache's connection to Redis cannot be set up")]
    Redis(#[from] RedisError),
    /// The tier is not there.
    #[error("the tier of the cache does not answer: {reason}")]
    Unavailable {
        /// Why not.
        reason: String,
    },
    /// It took too long.
    #[error("the tier of the cache did not answer in time")]
    Timeout,
}

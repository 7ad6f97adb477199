//! Why a cache cannot be opened.

use task_mcp_redis::RedisError;

/// Why a cache cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The settings of Redis cannot be used.
    #[error("the cache's connection to Redis cannot be set up")]
    Redis(#[from] RedisError),
}

//! Why a command failed.

use std::time::Duration;

/// Why a command failed. The texts hold neither addresses with passwords nor values.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The settings name no server that could be asked.
    #[error("the settings of Redis cannot be used: {reason}")]
    Settings {
        /// What is wrong with them.
        reason: String,
    },
    /// There is no connection, or it broke before the answer.
    #[error("Redis cannot be reached")]
    Unavailable(#[source] redis::RedisError),
    /// It failed too often; it is left alone until a probe succeeds.
    #[error("Redis is left alone after {failures} failures in a row, until a probe succeeds")]
    Breaker {
        /// Failures in a row that opened the breaker.
        failures: u32,
    },
    /// No answer within the time given. Whether the command was carried out is not known.
    #[error("Redis did not answer within {} ms", budget.as_millis())]
    Timeout {
        /// The time given.
        budget: Duration,
    },
    /// The server refused the command.
    #[error("Redis refused the command")]
    Server(#[source] redis::RedisError),
    /// The answer is not one to this command.
    #[error("Redis gave an answer that is none to this command")]
    Nonsense(#[source] redis::RedisError),
}

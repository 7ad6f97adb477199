//! Why a command failed, and why a connection could not be made.

use std::{io, time::Duration};

/// Why a command failed. The texts hold neither passwords nor values; the source of `Server` is the server's own text, which may
/// repeat the arguments of the command and is not for logs: see [`RedisError::code`].
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
    Unavailable(#[source] Unreachable),
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

impl RedisError {
    /// The server's error code (`OOM`, `READONLY`, `NOSCRIPT` ...) if it refused the command. Of a pipeline: the first one.
    pub fn code(&self) -> Option<String> {
        match self {
            Self::Server(error) => crate::refusal::codes(error).into_iter().next(),
            _ => None,
        }
    }
}

/// Why there is no connection for a command.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// The connection is being made, and was not there in time. Nothing was sent.
    #[error("the connection is still being made")]
    Connecting,
    /// The last attempt to connect failed. Nothing was sent.
    #[error("the last attempt to connect failed: {reason}")]
    Down {
        /// Why, without secrets.
        reason: String,
    },
    /// As many commands as one connection bears are waiting for their answers; large ones count more. Nothing was sent.
    #[error("too many commands are waiting for their answers, the limit is {limit}")]
    Busy {
        /// Commands of up to 64 KiB that may wait.
        limit: usize,
    },
    /// The connection broke. Whether the command was carried out is not known.
    #[error("the connection broke")]
    Broke(#[source] redis::RedisError),
}

/// Why an attempt to connect failed. No text holds a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("nothing came of it within {} ms", limit.as_millis())]
    Timeout { limit: Duration },
    #[error("{place} cannot be connected to: {source}")]
    Reach { place: String, source: io::Error },
    #[error("{place} is no name a certificate could be for")]
    ServerName { place: String, source: rustls::pki_types::InvalidDnsNameError },
    #[error("no TLS with {place}: {source}")]
    Tls { place: String, source: io::Error },
    #[error("{place} refused the handshake: {}", crate::refusal::describe(source))]
    Handshake { place: String, source: redis::RedisError },
    #[error("{place} gave no answer to {command} that could be understood")]
    Nonsense { place: String, command: &'static str },
    #[error("{place} is no master")]
    NoMaster { place: String },
    #[error("the sentinel {place} knows no master named {name:?}")]
    UnknownMaster { place: String, name: String },
    #[error("the cluster's node {place} knows no master for slot {slot}")]
    NoOwner { place: String, slot: u16 },
    #[error("no address to ask")]
    NoPlace,
}

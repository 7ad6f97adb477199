//! Why state cannot be read or written.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use task_mcp_redis::{RedisError, Unreachable};

use crate::records::Unreadable;

/// Why state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Redis cannot be used.
    #[error("the state in Redis cannot be reached")]
    Redis(#[from] RedisError),
    /// It took longer than it may. Whether a change was made is not known.
    #[error("the state did not answer within {} ms (state.timeout_ms)", limit.as_millis())]
    Timeout {
        /// How long it may take.
        limit: Duration,
    },
    /// A key or a value is larger than it may be.
    #[error("the {what} has {bytes} bytes, which is over the limit of {limit_bytes} bytes")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// There are more of something than there may be.
    #[error("{count} {what} are over the limit of {limit}")]
    TooMany {
        /// What they are.
        what: &'static str,
        /// How many they are.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Others changed the same record again and again; it may be tried anew.
    #[error("others change the same record all the time")]
    Contended,
    /// There is no room for more.
    #[error("the state is full: it may take {limit_bytes} bytes (state.max_bytes)")]
    Full {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The files were removed or replaced while they were open; what is written there is lost.
    #[error("the file of the embedded state in {path:?} was removed or replaced; restart the instance")]
    Replaced {
        /// Their directory.
        path: PathBuf,
    },
    /// The directory cannot be used.
    #[error("the state directory {path:?} cannot be used; supervisor.state_dir names one that this user may write")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The files cannot be opened.
    #[error("the embedded state in {path:?} cannot be opened")]
    Open {
        /// Their directory.
        path: PathBuf,
        /// LMDB's reason.
        source: heed::Error,
    },
    /// The thread that writes could not be started.
    #[error("no thread to write the embedded state")]
    Thread(#[source] io::Error),
    /// The files cannot be read or written.
    #[error("the embedded state cannot be read or written")]
    Embedded(#[source] heed::Error),
    /// A record is of another version, or nonsense.
    #[error("a record cannot be read")]
    Unreadable(#[source] Unreadable),
    /// The process is about to end.
    #[error("the state is being closed")]
    Gone,
}

impl StateError {
    /// Whether the change that failed with it may have been made all the same, or may yet be.
    pub(crate) fn may_be_made(&self) -> bool {
        match self {
            Self::Redis(error) => match error {
                RedisError::Settings { .. } | RedisError::Breaker { .. } | RedisError::Server(_) => false,
                RedisError::Unavailable(reason) => matches!(reason, Unreachable::Broke(_)),
                RedisError::Timeout { .. } | RedisError::Nonsense(_) => true,
            },
            Self::Timeout { .. } | Self::Embedded(_) | Self::Unreadable(_) | Self::Gone => true,
            Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Contended
            | Self::Full { .. }
            | Self::Replaced { .. }
            | Self::Directory { .. }
            | Self::Open { .. }
            | Self::Thread(_) => false,
        }
    }
}

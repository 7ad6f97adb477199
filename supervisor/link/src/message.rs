//! The messages of both directions.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A set of messages that travels in one direction.
pub trait Message: Serialize + DeserializeOwned {
    /// The names of all messages of the set, as in the field `type`.
    const NAMES: &'static [&'static str];

    /// How many descriptors travel with the message (unix(7), SCM_RIGHTS): all with the first byte of its frame.
    fn descriptors(&self) -> usize {
        0
    }
}

/// What the supervisor tells a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToProcess {
    /// Finish what is in flight, take nothing new, answer with [`FromProcess::Drained`] and exit.
    Drain {
        /// How long that may take, in milliseconds from the receipt of the message. What is unfinished then is to be
        /// cut, with exit code 75; soon after it the supervisor kills.
        deadline_ms: u64,
    },
    /// Take over settings without a new process; one descriptor, the sealed memfd of the snapshot. Answered with
    /// [`FromProcess::Applied`].
    Apply {
        /// Number of the settings.
        revision: u64,
    },
    /// Accept what waits in the queues of a slot that nobody serves, until they are empty; a descriptor for each listening
    /// socket. They stay the supervisor's: nothing is to be done with them but accept(2), and close.
    Adopt {
        /// The slot they belong to.
        slot: u16,
        /// Number of listening sockets.
        sockets: usize,
    },
    /// Log from now on what is at least as severe as this.
    LogLevel {
        /// A word of the setting `telemetry.log_level`.
        level: String,
    },
    /// Open the log file anew: it was moved away.
    ReopenLogs,
}

impl Message for ToProcess {
    const NAMES: &'static [&'static str] = &["drain", "apply", "adopt", "log_level", "reopen_logs"];

    fn descriptors(&self) -> usize {
        match self {
            Self::Apply { .. } => 1,
            Self::Adopt { sockets, .. } => *sockets,
            Self::Drain { .. } | Self::LogLevel { .. } | Self::ReopenLogs => 0,
        }
    }
}

/// What a process tells the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromProcess {
    /// First message: who speaks.
    Hello {
        /// Its process id.
        pid: u32,
        /// The generation it was started with.
        generation: u64,
        /// The seat it was started with.
        seat: u16,
        /// Version of the program it runs.
        build: String,
    },
    /// It serves.
    Ready {
        /// The addresses it listens to.
        listening: Vec<String>,
    },
    /// It works with the settings of this number.
    Applied {
        /// Their number.
        revision: u64,
    },
    /// It has begun to drain.
    Draining,
    /// It has finished and is about to exit.
    Drained {
        /// Whether something in flight was cut at the deadline.
        forced: bool,
    },
    /// It cannot go on and is about to exit.
    Fatal {
        /// The code it exits with.
        exit_code: u8,
        /// Why, as a sentence for the log.
        reason: String,
    },
}

impl Message for FromProcess {
    const NAMES: &'static [&'static str] = &["hello", "ready", "applied", "draining", "drained", "fatal"];
}

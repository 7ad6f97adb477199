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
    /// An event of the bus that another process published. It may be lost: then [`ToProcess::Resync`] follows.
    Event {
        /// What it is about.
        topic: String,
        /// What was said.
        payload: String,
    },
    /// Events may have been lost.
    Resync,
    /// Somebody asks over the control socket. Answered with [`FromProcess::Answered`].
    Ask {
        /// Number of the question.
        id: u64,
        /// The question, as JSON text.
        question: String,
    },
}

/// Longest topic of an event, in bytes.
pub const TOPIC_BYTES_MAX: usize = 256;
/// Longest payload of an event, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Longest answer to a question, in bytes: written as a string of JSON it fits into a frame, and into an answer of the control
/// socket.
pub const ANSWER_BYTES_MAX: usize = 400 << 10;

impl Message for ToProcess {
    const NAMES: &'static [&'static str] =
        &["drain", "apply", "adopt", "log_level", "reopen_logs", "event", "resync", "ask"];

    fn descriptors(&self) -> usize {
        match self {
            Self::Apply { .. } => 1,
            Self::Adopt { sockets, .. } => *sockets,
            Self::Drain { .. }
            | Self::LogLevel { .. }
            | Self::ReopenLogs
            | Self::Event { .. }
            | Self::Resync
            | Self::Ask { .. } => 0,
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
    /// It publishes an event of the bus, for every other process.
    Publish {
        /// What it is about, at most [`TOPIC_BYTES_MAX`].
        topic: String,
        /// What it says, at most [`PAYLOAD_BYTES_MAX`].
        payload: String,
    },
    /// Events that were for every other process are lost.
    PublishLost,
    /// It answers a question.
    Answered {
        /// Number of the question.
        id: u64,
        /// The answer, as JSON text, at most [`ANSWER_BYTES_MAX`].
        answer: String,
    },
}

impl Message for FromProcess {
    const NAMES: &'static [&'static str] =
        &["hello", "ready", "applied", "draining", "drained", "fatal", "publish", "publish_lost", "answered"];
}

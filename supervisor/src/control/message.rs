//! Requests and answers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use task_mcp_config::settings::LogLevel;

/// What is asked of a running instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the instance is; answered with [`Response::Status`].
    Status,
    /// Replace all workers one by one; answered when that is done or was abandoned.
    Restart,
    /// Read the settings again; answered when they are in force, or with the reason why they are not.
    Reload,
    /// Go on with the program that has the place of the running one now; answered when it is in force, or with the reason why it
    /// is not.
    Upgrade,
    /// Have so many workers; answered when the workers of new slots serve and the slots to close are closed, or
    /// when one cannot start. A later request for another number supersedes it.
    Scale {
        /// Worker slots.
        workers: u16,
    },
    /// Log from now on what is at least as severe as this, in all processes, those started later too; until the settings are
    /// read again. Answered at once.
    LogLevel {
        /// The level.
        level: LogLevel,
    },
    /// A question for the admin process, handed on as it is; answered with [`Response::Answer`].
    Ask {
        /// The question, in the words of that process.
        question: Value,
    },
    /// What SIGTERM does: drain, and the second time kill. Answered at once.
    Stop,
    /// Drain and end; asked again, nothing more, and a signal that follows is the first. Answered at once.
    Drain,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Response {
    /// It was done.
    Done {
        /// What, as a sentence.
        message: String,
    },
    /// How the instance is.
    Status(Status),
    /// What the admin process answered.
    Answer {
        /// The answer, in the words of that process.
        answer: Value,
    },
    /// It was tried and not achieved.
    Failed {
        /// Why, as a sentence.
        reason: String,
    },
    /// It was not understood, or not allowed; the connection is closed.
    Refused {
        /// Why, as a sentence.
        reason: String,
    },
}

/// How an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Process id of the supervisor.
    pub pid: u32,
    /// Version of the program it runs.
    pub build: String,
    /// How long it has been running, in milliseconds.
    pub uptime_ms: u64,
    /// Whether it drains.
    pub draining: bool,
    /// Whether a rolling restart is under way.
    pub restarting: bool,
    /// Addresses of the public endpoint.
    pub endpoints: Vec<SocketAddr>,
    /// Address of the admin listener.
    pub admin: Option<SocketAddr>,
    /// Worker slots there shall be; differs from what `slots` shows while slots are added or closed.
    pub workers: u16,
    /// The worker slots in order, then the admin process.
    pub slots: Vec<SlotStatus>,
}

/// How one slot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStatus {
    /// `worker 0` and so on, or `admin process`.
    pub name: String,
    /// `empty`, `starting`, `live`, `parked` (silent, gets no new connections), `hung`, `aborted`, `leaving` (drains
    /// unasked), `draining`, `backoff` or `broken`.
    pub state: String,
    /// Process id, if there is a process.
    pub pid: Option<u32>,
    /// Generation of the process.
    pub generation: Option<u64>,
    /// The other process, while one is being replaced.
    pub second: Option<SecondStatus>,
    /// Processes started in the place of another since the supervisor started.
    pub restarts: u64,
    /// Connections that wait to be accepted.
    pub waiting: u32,
    /// Requests being served, by both processes.
    pub in_flight: u64,
    /// Streams open, of both processes.
    pub open_streams: u64,
    /// Connections its processes hold open, with and without a request.
    pub open_connections: u64,
    /// How the last process that ended did so.
    pub last_exit: Option<String>,
}

/// The other process of a slot with two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondStatus {
    /// `successor` or `leaving`.
    pub state: String,
    /// Process id; `None` if it is gone and not yet reaped.
    pub pid: Option<u32>,
    /// Its generation.
    pub generation: u64,
}

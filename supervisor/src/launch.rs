//! What an instance is started with, and how it ends.

use std::net::SocketAddr;

use task_mcp_config::Settings;
use task_mcp_config::settings::{LogLevel, Telemetry};
use task_mcp_scoreboard::Series;

use crate::handover::Taken;
use crate::inherited::Passed;
use crate::program::Installed;

/// Told once that an instance serves.
pub type OnReady = Box<dyn FnOnce(&Ready)>;

/// Reads the settings again, from where they came from at the start. The error is told to operators as it is.
pub type ReadSettings = Box<dyn FnMut() -> Result<Configured, String>>;

/// Settings to start processes with.
pub struct Configured {
    /// The settings, validated. The number of workers is settled: it is not 0.
    pub settings: Settings,
    /// The same settings as the processes read them; goes to them in a sealed memfd, as it is.
    pub snapshot: Vec<u8>,
}

/// What an instance is started with.
pub struct Launch {
    /// The settings.
    pub configured: Configured,
    /// How to read them again.
    pub read_settings: ReadSettings,
    /// How the program that is installed in the place of this one is started.
    pub installed: Installed,
    /// The running instance that is to be taken over.
    pub taken: Option<Box<Taken>>,
    /// Descriptors of the service manager.
    pub passed: Passed,
    /// Metric series of all processes. [`crate::series`] should be among them; what is missing of it is added at the end.
    pub series: Vec<Series>,
    /// Called once, when all workers and the admin process serve, or when the time to boot is over and one worker and the
    /// admin process do.
    pub on_ready: OnReady,
    /// Version of this program; a process that reports another one is logged.
    pub build: String,
    /// Arguments for the processes, after those the supervisor gives.
    pub extra_args: Vec<String>,
    /// The log of the supervisor.
    pub logs: Logs,
}

/// What the program that links this crate does with the log of the supervisor.
#[derive(Debug, Clone, Copy)]
pub struct Logs {
    /// Takes over changed settings.
    pub apply: fn(&Telemetry),
    /// Changes the level alone.
    pub set_level: fn(LogLevel),
    /// Opens the log file anew.
    pub reopen: fn(),
}

/// What is told when the instance serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Addresses of the public endpoint, in the order of the settings, with real ports.
    pub endpoints: Vec<SocketAddr>,
    /// Address of the admin listener, with its real port.
    pub admin: SocketAddr,
    /// Workers that serve.
    pub workers: u16,
}

/// How an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Exit {
    /// It was told to stop and finished everything.
    Clean,
    /// Its processes died again and again before any was ready.
    Bug,
    /// It was told to stop and cut something at the deadline.
    Forced,
    /// Its processes cannot work with the settings.
    Config,
}

impl Exit {
    /// The exit code for the service manager (sysexits.h).
    pub fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Bug => 70,
            Self::Forced => 75,
            Self::Config => 78,
        }
    }
}

//! What an instance is started with, and how it ends.

use std::net::SocketAddr;

use task_mcp_config::Settings;
use task_mcp_config::settings::{LogLevel, Telemetry};
use task_mcp_scoreboard::Series;

/// Told once that an instance serves.
pub type OnReady = Box<dyn FnOnce(&Ready)>;

/// What an instance is started with.
pub struct Launch {
    /// The settings, validated.
    pub settings: Settings,
    /// The same settings as the processes read them; goes to them in a sealed memfd, as it is.
    pub settings_snapshot: Vec<u8>,
    /// Worker processes; 0 = one for each processor this process may use.
    pub workers: u16,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

//! What a process inherits from the supervisor, and how it ends.

use std::net::TcpListener;
use std::os::fd::{OwnedFd, RawFd};

use rustix::fs::fstat;
use rustix::io::pread;
use task_mcp_config::Settings;
use task_mcp_config::settings::{LogLevel, Telemetry};
use task_mcp_scoreboard::{Commons, Role, Scoreboard, Seat, monotonic_ms};

use crate::error::WorkerError;
use crate::inherit::inherit;
use crate::signals::defy_terminal;

/// The arguments of `task-mcp worker` and `task-mcp admin`: numbers of descriptors and places on the scoreboard.
#[derive(Debug, Clone)]
pub struct Boot {
    /// Row of the scoreboard.
    pub seat: u16,
    /// Slot served; 0 for the admin process.
    pub slot: u16,
    /// Generation of the process.
    pub generation: u64,
    /// Socket pair to the supervisor.
    pub link_fd: RawFd,
    /// Sealed memfd with the settings.
    pub settings_fd: RawFd,
    /// Sealed memfd of the scoreboard.
    pub scoreboard_fd: RawFd,
    /// Sealed memfd of the commons.
    pub commons_fd: RawFd,
    /// Listening sockets.
    pub listen_fds: Vec<RawFd>,
}

/// The software this process runs.
#[derive(Debug, Clone)]
pub struct Build {
    /// Version for people and metrics.
    pub version: String,
    /// Identity for the supervisor.
    pub build: String,
}

/// What the program that links this crate does with the log of this process.
#[derive(Debug, Clone, Copy)]
pub struct Logs {
    /// Starts it, once the settings are read.
    pub start: fn(&Telemetry),
    /// Takes over changed settings.
    pub apply: fn(&Telemetry),
    /// Changes the level alone.
    pub set_level: fn(LogLevel),
    /// Opens the log file anew.
    pub reopen: fn(),
}

/// How a process ended, as the supervisor and its exit code tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It drained; nothing was cut.
    Drained,
    /// The deadline cut what was still in flight.
    Forced,
}

/// The inheritance, adopted.
pub(crate) struct Process {
    pub(crate) settings: Settings,
    pub(crate) scoreboard: Scoreboard,
    pub(crate) seat: Seat,
    pub(crate) commons: Commons,
    pub(crate) link: OwnedFd,
    pub(crate) listeners: Vec<TcpListener>,
}

impl Process {
    /// Adopts every descriptor of `boot` and takes the seat.
    ///
    /// # Errors
    /// A descriptor is not what it should be, or was made by another version.
    pub(crate) fn adopt(boot: &Boot, role: Role, logs: Logs) -> Result<Self, WorkerError> {
        defy_terminal()?;
        name_process(role);
        let settings = read_snapshot(&inherit(boot.settings_fd, "settings")?)?;
        (logs.start)(&settings.telemetry);
        let scoreboard = Scoreboard::open(inherit(boot.scoreboard_fd, "scoreboard")?)?;
        let commons = Commons::open(inherit(boot.commons_fd, "commons")?)?;
        let link = inherit(boot.link_fd, "link")?;
        let listeners = boot
            .listen_fds
            .iter()
            .map(|fd| inherit(*fd, "listener").map(TcpListener::from))
            .collect::<Result<_, _>>()?;
        let seat = scoreboard.seat(boot.seat).ok_or(WorkerError::Seat(boot.seat))?;
        seat.begin(std::process::id(), boot.slot, boot.generation, role, monotonic_ms());
        Ok(Self { settings, scoreboard, seat, commons, link, listeners })
    }
}

/// A process started through /proc/self/exe is called `exe` in ps(1) and top(1); the kernel keeps 15 characters of a better name.
/// It is for people: where it cannot be set, nothing is lost.
fn name_process(role: Role) {
    let name = match role {
        Role::Worker => "task-mcp-worker",
        Role::Admin => "task-mcp-admin",
        Role::Supervisor => return,
    };
    let _ = std::fs::write("/proc/self/comm", name);
}

/// Reads without moving the offset, which all holders of the descriptor share.
pub(crate) fn read_snapshot(fd: &OwnedFd) -> Result<Settings, WorkerError> {
    let snapshot = |errno: rustix::io::Errno| WorkerError::Snapshot(errno.into());
    let size = usize::try_from(fstat(fd).map_err(snapshot)?.st_size).unwrap_or(0);
    let mut bytes = vec![0; size];
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match pread(fd, rest, at as u64).map_err(snapshot)? {
            0 => break,
            read => at += read,
        }
    }
    bytes.truncate(at);
    Ok(Settings::from_snapshot(&bytes)?)
}

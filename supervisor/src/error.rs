//! What can fail at start; each variant is a step. Once processes run, failures are events, not errors.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use task_mcp_scoreboard::ScoreboardError;

/// Why an instance could not be started, or had to be abandoned.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// A directory of the instance could not be made or looked at.
    #[error("{setting} {path:?} cannot be used; name a directory this user may create and write")]
    Directory {
        /// The setting that names it.
        setting: &'static str,
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A directory of the instance is not private.
    #[error("{setting} {path:?} {reason}; other users could take what is in it over. Remove it or name another")]
    DirectoryUnsafe {
        /// The setting that names it.
        setting: &'static str,
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another instance has the directory.
    #[error(
        "another instance (process {pid}) runs in {setting} {path:?}; stop it, or give this one its own runtime_dir, \
         state_dir and addresses"
    )]
    Locked {
        /// The setting that names it.
        setting: &'static str,
        /// The directory.
        path: PathBuf,
        /// Process id of the other supervisor, as it wrote it.
        pid: String,
    },
    /// The control socket could not be opened.
    #[error(
        "supervisor.control_socket {path:?} cannot be opened; name a file in a directory this user may write, with a path \
         of at most 107 bytes"
    )]
    ControlSocket {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another instance listens at the control socket.
    #[error("another instance listens at supervisor.control_socket {path:?}; stop it, or give this one its own")]
    ControlSocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// An address is taken.
    #[error(
        "{field}: the address {address} is in use by another program, or by this instance under another name; stop it or choose another port"
    )]
    AddressInUse {
        /// The setting.
        field: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// An address cannot be listened to.
    #[error(
        "{field}: cannot listen to {address}; the address must be one of this machine's, and a port below 1024 needs \
         CAP_NET_BIND_SERVICE"
    )]
    Listen {
        /// The setting.
        field: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The shared memory could not be made.
    #[error("cannot make the memory that the processes share")]
    Scoreboard(#[from] ScoreboardError),
    /// The settings snapshot could not be made.
    #[error("cannot make the settings snapshot of {bytes} bytes for the processes")]
    Snapshot {
        /// Its size, in bytes.
        bytes: usize,
        /// The system's reason.
        source: io::Error,
    },
    /// Signals could not be taken over.
    #[error("cannot take over signal {name}")]
    Signals {
        /// The signal.
        name: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// What a running instance handed over cannot be taken.
    #[error("the running instance cannot be taken over")]
    TakeOver(#[source] io::Error),
    /// Waiting for events failed.
    #[error("cannot wait for events of the processes")]
    Wait(#[source] io::Error),
}

impl SupervisorError {
    /// The exit code for the service manager (sysexits.h): 78 for settings to be corrected, 69 for something that is taken
    /// at the moment, 70 for what should not happen.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ControlSocket { .. }
            | Self::Directory { .. }
            | Self::DirectoryUnsafe { .. }
            | Self::Listen { .. } => 78,
            Self::Locked { .. } | Self::ControlSocketInUse { .. } | Self::AddressInUse { .. } => 69,
            Self::Scoreboard(_) | Self::Snapshot { .. } | Self::Signals { .. } | Self::TakeOver(_) | Self::Wait(_) => {
                70
            }
        }
    }
}

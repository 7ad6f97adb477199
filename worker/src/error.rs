//! What can keep a server process from serving.

use std::io;

/// Why a process cannot start or go on. The variant names the step.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// An inherited descriptor is not there.
    #[error("the inherited descriptor {fd} ({what}) cannot be used")]
    Inherit {
        /// Its number.
        fd: i32,
        /// What it should be.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// The snapshot of the settings cannot be read.
    #[error("the snapshot of the settings cannot be read")]
    Snapshot(#[source] io::Error),
    /// The snapshot holds no settings.
    #[error("the snapshot of the settings is not one of this version")]
    Settings(#[from] task_mcp_config::ConfigError),
    /// The scoreboard or the commons cannot be mapped.
    #[error("the shared memory cannot be mapped")]
    Scoreboard(#[from] task_mcp_scoreboard::ScoreboardError),
    /// The seat does not exist.
    #[error("the scoreboard has no seat {0}")]
    Seat(u16),
    /// The scoreboard was planned by another build.
    #[error(transparent)]
    Series(#[from] task_mcp_telemetry::UnplannedSeries),
    /// The tree cannot be opened.
    #[error("the tree cannot be opened")]
    Store(#[from] task_mcp_changes::ChangesError),
    /// The cache cannot be set up.
    #[error(transparent)]
    Cache(#[from] task_mcp_cache::CacheError),
    /// The state cannot be opened.
    #[error("the state cannot be opened")]
    State(#[from] task_mcp_state::StateError),
    /// There are no keys to seal with.
    #[error(transparent)]
    Keys(#[from] crate::keys::KeysError),
    /// The tools do not fit together.
    #[error(transparent)]
    Registry(#[from] task_mcp_tools::RegistryError),
    /// The catalogue cannot be built.
    #[error(transparent)]
    Catalog(#[from] task_mcp_mcp::CatalogError),
    /// The system refuses threads for the pool.
    #[error("the threads of the pool cannot be started")]
    Pool(#[source] io::Error),
    /// The link to the supervisor broke.
    #[error("the link to the supervisor broke")]
    Link(#[source] io::Error),
    /// The listeners cannot be served.
    #[error("the listeners cannot be served")]
    Listen(#[source] io::Error),
    /// The system refuses the watcher's thread.
    #[error("the thread of the watcher cannot be started")]
    Watcher(#[source] io::Error),
    /// Standard input or output cannot be used.
    #[error("standard input or output cannot be used")]
    Stdio(#[source] io::Error),
    /// A signal cannot be watched.
    #[error("the signals cannot be watched")]
    Signals(#[source] io::Error),
}

impl WorkerError {
    /// The exit code of a process that ends with it (sysexits.h): 78 for settings to be corrected, 69 for what the machine does
    /// not give now, 70 for what should not happen.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Store(_) | Self::Cache(_) => 78,
            Self::Keys(error) if error.is_for_the_operator() => 78,
            Self::Pool(_) | Self::Listen(_) | Self::Watcher(_) | Self::Stdio(_) | Self::State(_) | Self::Keys(_) => 69,
            Self::Inherit { .. }
            | Self::Snapshot(_)
            | Self::Scoreboard(_)
            | Self::Seat(_)
            | Self::Series(_)
            | Self::Registry(_)
            | Self::Catalog(_)
            | Self::Link(_)
            | Self::Signals(_) => 70,
        }
    }
}

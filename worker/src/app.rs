//! What requests share, whatever way they come: over the network or on standard input.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use task_mcp_cache::Cache;
use task_mcp_changes::Store;
use task_mcp_config::Settings;
use task_mcp_mcp::sealed::Keyring;
use task_mcp_mcp::{Catalog, Engine, ServerInfo};
use task_mcp_scoreboard::{Scoreboard, Seat};
use task_mcp_state::{RateLimits, State};
use task_mcp_telemetry::{Metrics, Readiness};
use task_mcp_tools::{Executor, Pool, Registry};
use tokio::sync::watch;

use crate::assembly::{Assembly, Memory};
use crate::error::WorkerError;
use crate::exchange::tasks::TaskRuns;
use crate::exchange::{Desk, Streams};
use crate::live::Live;
use crate::process::Build;
use crate::sessions::{Sessions, Terms};

/// What requests share. It is built once; what changes is behind `live`.
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) registry: Arc<Registry>,
    pub(crate) executor: Executor,
    pub(crate) pool: Pool,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) cache: Cache,
    /// How much each principal may send.
    pub(crate) rates: RateLimits,
    /// What outlives this process.
    pub(crate) state: State,
    /// Legacy sessions, and the keys in force.
    pub(crate) sessions: Sessions,
    /// What asking clients takes.
    pub(crate) desk: Arc<Desk>,
    pub(crate) live: ArcSwap<Live>,
    /// The tasks this worker runs.
    pub(crate) tasks: TaskRuns,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    pub(crate) seat: Seat,
    /// Of the whole instance.
    pub(crate) scoreboard: Scoreboard,
    /// Turns true when a drain waits no longer for bodies that are still on their way.
    pub(crate) stop_reading: watch::Sender<bool>,
    /// The open streams.
    pub(crate) streams: Streams,
    pub(crate) version: String,
    pub(crate) started: Instant,
}

impl App {
    /// What the requests of a process share. `keys` seal its sessions and the states of its calls.
    ///
    /// # Errors
    /// What it offers cannot be told.
    pub(crate) fn new(
        settings: &Settings,
        build: &Build,
        assembly: Assembly,
        memory: &Memory,
        readiness: Readiness,
        keys: Arc<Keyring>,
    ) -> Result<Self, WorkerError> {
        let catalog = Catalog::new(&server_info(build), &assembly.registry.offer())?;
        Ok(Self {
            engine: Engine::new(catalog),
            registry: assembly.registry,
            executor: assembly.executor,
            pool: assembly.pool,
            store: assembly.store,
            cache: assembly.cache,
            rates: assembly.state.rate_limits(&memory.commons),
            sessions: Sessions::new(assembly.state.clone(), session_terms(settings, keys)),
            desk: Desk::new(&assembly.state, assembly.metrics.mcp.clone()),
            state: assembly.state,
            live: ArcSwap::from_pointee(Live::new(settings)),
            tasks: TaskRuns::default(),
            readiness,
            metrics: assembly.metrics,
            seat: memory.seat.clone(),
            scoreboard: assembly.scoreboard,
            stop_reading: watch::Sender::new(false),
            streams: Streams::new(),
            version: build.version.clone(),
            started: Instant::now(),
        })
    }

    /// Work that goes on though nobody may wait for it: a process that takes leave waits for it.
    pub(crate) fn unfinished(&self) -> usize {
        self.pool.unfinished() + self.executor.unfinished() + self.streams.detached() + self.tasks.unfinished()
    }
}

/// What sessions may be used with and for how long.
pub(crate) fn session_terms(settings: &Settings, keys: Arc<Keyring>) -> Terms {
    let state = &settings.state;
    Terms { keys, ttl: Duration::from_secs(state.session_ttl_s), idle: Duration::from_secs(state.session_idle_s) }
}

fn server_info(build: &Build) -> ServerInfo {
    ServerInfo {
        name: "task-mcp".to_owned(),
        title: "Task MCP".to_owned(),
        version: build.version.clone(),
        instructions: "Plans and ships changes in a repository that uses OpenSpec. Call changes.active first to see what is \
                       under way, change.show before you work on one, change.open to propose a new one, and change.archive \
                       when its tasks are done: it merges the change into the living specs."
            .to_owned(),
    }
}

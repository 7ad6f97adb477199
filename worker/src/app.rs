//! What the requests of a worker share.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use task_mcp_cache::Cache;
use task_mcp_changes::Store;
use task_mcp_mcp::Engine;
use task_mcp_scoreboard::{Scoreboard, Seat};
use task_mcp_state::{RateLimits, State};
use task_mcp_telemetry::{Metrics, Readiness};
use task_mcp_tools::{Executor, Pool};
use tokio::sync::watch;

use crate::connections::adopted::Adopter;
use crate::connections::gate::Gate;
use crate::exchange::tasks::TaskRuns;
use crate::faults::Armed;
use crate::live::Live;

/// What the requests of a worker share. It is built once; what changes is behind `live`.
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) executor: Executor,
    pub(crate) pool: Pool,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) cache: Cache,
    /// How much each principal may send.
    pub(crate) rates: RateLimits,
    /// What outlives this process.
    pub(crate) state: State,
    pub(crate) live: ArcSwap<Live>,
    /// The tasks this worker runs.
    pub(crate) tasks: TaskRuns,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    pub(crate) seat: Seat,
    /// Of the whole instance.
    pub(crate) scoreboard: Scoreboard,
    pub(crate) faults: Arc<Armed>,
    /// Turns true when a drain waits no longer for bodies that are still on their way.
    pub(crate) stop_reading: watch::Sender<bool>,
    /// The open connections, and who is let in.
    pub(crate) gate: Arc<Gate>,
    /// Serves connections of slots that nobody serves.
    pub(crate) adopter: Adopter,
    pub(crate) version: String,
    pub(crate) started: Instant,
}

impl App {
    /// Work that goes on though nobody may wait for it: a process that takes leave waits for it.
    pub(crate) fn unfinished(&self) -> usize {
        self.pool.unfinished() + self.executor.unfinished() + self.tasks.unfinished()
    }
}

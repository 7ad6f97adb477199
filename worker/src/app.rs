//! What the requests of a worker share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use task_mcp_changes::Store;
use task_mcp_mcp::Engine;
use task_mcp_scoreboard::Seat;
use task_mcp_telemetry::{Metrics, Readiness};
use task_mcp_tools::{Executor, Pool};
use tokio::sync::watch;

use crate::faults::Armed;
use crate::public::access::Access;

/// What the requests of a worker share. It is built once and never changes.
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) executor: Executor,
    pub(crate) pool: Pool,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) access: Access,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    pub(crate) seat: Seat,
    pub(crate) limits: RequestLimits,
    pub(crate) faults: Arc<Armed>,
    /// Turns true when a drain waits no longer for bodies that are still on their way.
    pub(crate) stop_reading: watch::Sender<bool>,
    pub(crate) version: String,
    pub(crate) started: Instant,
}

/// What one request may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    pub(crate) body_bytes: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) json_depth: u32,
    pub(crate) heartbeat: Duration,
}

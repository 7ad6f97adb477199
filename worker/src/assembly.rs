//! Store, tools and executor of one process, joined in one place for a worker and for a call without a server.

use std::sync::Arc;
use std::time::Duration;

use task_mcp_changes::{EpochSource, FilesStore, Offload, Store, StoreOptions};
use task_mcp_config::Settings;
use task_mcp_scoreboard::{Scoreboard, Seat};
use task_mcp_telemetry::Metrics;
use task_mcp_tools::{Executor, Inventory, Limits, Pool, Registry, Tool, builtin_tools};

use crate::error::WorkerError;

/// The parts, joined.
pub struct Assembly {
    /// Changes and specs.
    pub store: Arc<dyn Store>,
    /// The tools by name.
    pub registry: Arc<Registry>,
    /// The scoreboard of the instance.
    pub scoreboard: Scoreboard,
    /// Handles on the seat's series.
    pub metrics: Metrics,
    /// Runs calls.
    pub executor: Executor,
    /// Where files are touched.
    pub pool: Pool,
}

impl Assembly {
    /// Joins the parts as `settings` say. `tools` come beside the built-in ones; `threads` is what this process gets of the pool.
    ///
    /// # Errors
    /// The tree cannot be opened, tools do not fit together, the scoreboard was planned for others, no threads.
    pub fn new(
        settings: &Settings,
        tools: Vec<Arc<dyn Tool>>,
        scoreboard: &Scoreboard,
        seat: &Seat,
        epochs: Arc<dyn EpochSource>,
        threads: usize,
    ) -> Result<Self, WorkerError> {
        let inventory = Inventory::with(&tools);
        let metrics = Metrics::bind(scoreboard, seat, &inventory.names(), inventory.codes())?;
        let pool = Pool::start(threads, settings.tools.queue as usize, &metrics.tools).map_err(WorkerError::Pool)?;
        let offload: Arc<dyn Offload> = Arc::new(pool.clone());
        let options =
            StoreOptions { document_bytes: settings.store.document_bytes, changes: settings.store.changes as usize };
        let store: Arc<dyn Store> = Arc::new(FilesStore::open(&settings.store.root, options, epochs, offload)?);
        let registry = Arc::new(Registry::new(builtin_tools(&store).into_iter().chain(tools).collect())?);
        let executor = Executor::new(Arc::clone(&registry), call_limits(settings), metrics.tools.clone());
        Ok(Self { store, registry, scoreboard: scoreboard.clone(), metrics, executor, pool })
    }
}

/// What one call may cost.
pub(crate) fn call_limits(settings: &Settings) -> Limits {
    Limits {
        deadline: Duration::from_millis(settings.tools.deadline_ms),
        response_bytes: usize::try_from(settings.limits.response_bytes).unwrap_or(usize::MAX),
    }
}

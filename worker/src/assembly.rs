//! Store, tools and executor of one process, joined in one place for a worker and for a call without a server.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use task_mcp_cache::Cache;
use task_mcp_changes::{FilesStore, Offload, Store, StoreOptions};
use task_mcp_config::Settings;
use task_mcp_scoreboard::{Commons, Scoreboard, Seat};
use task_mcp_state::State;
use task_mcp_telemetry::Metrics;
use task_mcp_tools::{
    Additions, Backing, Executor, Inventory, Limits, Pool, Registry, RegistryError, builtin_completions,
    builtin_prompts, builtin_resources, builtin_tools,
};

use crate::epochs::TreeEpoch;
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
    /// Results of tools.
    pub cache: Cache,
    /// What outlives this process.
    pub state: State,
    /// Runs calls.
    pub executor: Executor,
    /// Where files are touched.
    pub pool: Pool,
}

/// The memory of an instance, and this process's place in it.
#[derive(Debug, Clone)]
pub struct Memory {
    /// What each process does.
    pub scoreboard: Scoreboard,
    /// What all have in common.
    pub commons: Commons,
    /// The row of this process.
    pub seat: Seat,
}

impl Assembly {
    /// Joins the parts of a process of an instance as `settings` say; within a tokio runtime. `additions` come beside
    /// what is built in; `threads` is what this process gets of the pool.
    ///
    /// # Errors
    /// The tree cannot be opened, tools do not fit together, the scoreboard was planned for others, no threads, or cache and state
    /// cannot be opened.
    pub fn new(
        settings: &Settings,
        additions: &Additions,
        memory: &Memory,
        threads: usize,
    ) -> Result<Self, WorkerError> {
        Self::join(settings, additions, memory, threads, |metrics, store_id| {
            let cache =
                Cache::open(settings, store_id, &memory.commons, metrics.cache.clone(), metrics.cache_redis.clone())?;
            let state = State::open(settings, &memory.commons, metrics.state.clone(), metrics.state_redis.clone())?;
            Ok((cache, state))
        })
    }

    /// The same for a process that runs alone, beside an instance or without: it keeps no results and shares no state.
    ///
    /// # Errors
    /// As [`Assembly::new`].
    pub fn alone(settings: &Settings, additions: &Additions, memory: &Memory) -> Result<Self, WorkerError> {
        Self::join(settings, additions, memory, 1, |metrics, _| {
            Ok((Cache::none(&memory.commons, metrics.cache.clone()), State::alone(metrics.state.clone())))
        })
    }

    fn join(
        settings: &Settings,
        additions: &Additions,
        memory: &Memory,
        threads: usize,
        open: impl FnOnce(&Metrics, &str) -> Result<(Cache, State), WorkerError>,
    ) -> Result<Self, WorkerError> {
        let inventory = Inventory::with(additions);
        let metrics = Metrics::bind(&memory.scoreboard, &memory.seat, &inventory.names(), inventory.codes())?;
        let store_id = store_id(settings);
        let (cache, state) = open(&metrics, &store_id)?;
        let epochs = Arc::new(TreeEpoch::new(memory.commons.epochs()));
        let pool = Pool::start(threads, settings.tools.queue as usize, &metrics.tools).map_err(WorkerError::Pool)?;
        let offload: Arc<dyn Offload> = Arc::new(pool.clone());
        let options =
            StoreOptions { document_bytes: settings.store.document_bytes, changes: settings.store.changes as usize };
        let store: Arc<dyn Store> = Arc::new(FilesStore::open(&settings.store.root, options, epochs, offload)?);
        let registry = Arc::new(registry(&store, additions)?);
        let backing =
            Backing { store_id, cache: cache.clone(), ledger: state.ledger().clone(), bus: state.bus().clone() };
        let executor = Executor::new(Arc::clone(&registry), call_limits(settings), metrics.tools.clone(), backing);
        let scoreboard = memory.scoreboard.clone();
        Ok(Self { store, registry, scoreboard, metrics, cache, state, executor, pool })
    }
}

/// What the server offers over `store`, then what was added.
fn registry(store: &Arc<dyn Store>, additions: &Additions) -> Result<Registry, RegistryError> {
    let tools = builtin_tools(store).into_iter().chain(additions.tools.iter().cloned());
    let prompts = builtin_prompts(store).into_iter().chain(additions.prompts.iter().cloned());
    let resources = builtin_resources(store).into_iter().chain(additions.resources.iter().cloned());
    let completions: Vec<_> =
        builtin_completions(store).into_iter().chain(additions.completions.iter().cloned()).collect();
    Registry::new(tools.collect(), prompts.collect(), resources.collect(), &completions)
}

/// Names the data in a cache that machines share: what the settings say, else this machine, the root, and which folder of which
/// file system that is, because two containers of a machine may have different trees under one path. Whoever serves other data
/// has another name; whether two machines serve the same, only the settings can say.
pub(crate) fn store_id(settings: &Settings) -> String {
    if !settings.store.id.is_empty() {
        return settings.store.id.clone();
    }
    let root = fs::canonicalize(&settings.store.root).unwrap_or_else(|_| settings.store.root.clone());
    let inode = fs::metadata(&root).map_or(0, |folder| folder.ino());
    // Kept over a restart of the machine, which the number of a device is not.
    let file_system = rustix::fs::statvfs(&root).map_or(0, |file_system| file_system.f_fsid);
    format!("{}:{file_system:x}:{inode}:{}", machine_id(), root.display())
}

/// The identity of this installation (machine-id(5)); where there is none, as in many containers, of this run of the kernel.
fn machine_id() -> String {
    let read = |path| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let id = read("/etc/machine-id");
    if id.is_empty() { read("/proc/sys/kernel/random/boot_id") } else { id }
}

/// What one call may cost.
pub(crate) fn call_limits(settings: &Settings) -> Limits {
    Limits {
        deadline: Duration::from_millis(settings.tools.deadline_ms),
        response_bytes: usize::try_from(settings.limits.response_bytes).unwrap_or(usize::MAX),
        concurrency: settings.tools.concurrency as usize,
    }
}

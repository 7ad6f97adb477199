//! What the tests of this crate share.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use task_mcp_cache::Cache;
use task_mcp_changes::{EpochSource, FilesStore, Offload, OffloadFull, Store, StoreOptions};
use task_mcp_scoreboard::{Commons, Plan, Sample, Scoreboard};
use task_mcp_state::State;
use task_mcp_telemetry::{Metrics, ToolMetrics, names, plan};

use crate::call::Call;
use crate::error::code;
use crate::executor::Backing;
use crate::principal::Principal;

/// Metrics for tools of the given names, and the scoreboard they are on.
pub(crate) fn metrics(tools: &[&str]) -> (ToolMetrics, Scoreboard) {
    metrics_with(tools, &code::ALL)
}

/// The same for given error codes.
pub(crate) fn metrics_with(tools: &[&str], codes: &[&str]) -> (ToolMetrics, Scoreboard) {
    let scoreboard = Scoreboard::create(&Plan { seats: 1, series: plan(tools, codes) }).unwrap();
    let seat = scoreboard.seat(0).unwrap();
    (Metrics::bind(&scoreboard, &seat, tools, codes).unwrap().tools, scoreboard)
}

/// Cache and ledger of a process that runs alone, with epochs in `commons`.
pub(crate) fn backing(scoreboard: &Scoreboard, commons: &Commons, tools: &[&str], codes: &[&str]) -> Backing {
    let metrics = Metrics::bind(scoreboard, &scoreboard.seat(0).unwrap(), tools, codes).unwrap();
    let state = State::alone(metrics.state);
    let (ledger, bus) = (state.ledger().clone(), state.bus().clone());
    Backing { store_id: "test".to_owned(), cache: Cache::none(commons, metrics.cache), ledger, bus }
}

/// How many panics were counted.
pub(crate) fn panics(scoreboard: &Scoreboard) -> u64 {
    counted(scoreboard, names::TOOL_PANICS, &[])
}

/// What a counter says.
pub(crate) fn counted(scoreboard: &Scoreboard, name: &str, labels: &[(&str, &str)]) -> u64 {
    match scoreboard.total(scoreboard.find(name, labels).unwrap()) {
        Some(Sample::Counter(count)) => count,
        other => panic!("{name} is no counter: {other:?}"),
    }
}

/// A call of nobody in particular.
pub(crate) fn call() -> Call {
    Call::new(Principal::anonymous())
}

/// A tree in a temporary folder, with a store over it.
pub(crate) struct Demo {
    root: tempfile::TempDir,
    epochs: Arc<MemoryEpoch>,
    pub(crate) store: Arc<dyn Store>,
}

#[derive(Default)]
struct MemoryEpoch(AtomicU64);

impl EpochSource for MemoryEpoch {
    fn current(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn bump(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs each job at once.
struct Inline;

impl Offload for Inline {
    fn submit(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), OffloadFull> {
        job();
        Ok(())
    }
}

impl Demo {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("openspec/changes")).unwrap();
        let epochs = Arc::new(MemoryEpoch::default());
        let options = StoreOptions { document_bytes: 1 << 20, changes: 1000 };
        let store = FilesStore::open(root.path(), options, epochs.clone(), Arc::new(Inline)).unwrap();
        Self { root, epochs, store: Arc::new(store) }
    }

    /// Writes a file below `openspec/`.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self.epochs.bump();
    }

    /// Where a file below `openspec/` lies.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join("openspec").join(path)
    }

    /// Removes a folder below `openspec/`.
    pub(crate) fn remove(&self, path: &str) {
        fs::remove_dir_all(self.path(path)).unwrap();
        self.epochs.bump();
    }

    /// A change with proposal, tasks and a delta for `accounts`.
    pub(crate) fn add_change(&self, slug: &str) {
        self.write(&format!("changes/{slug}/proposal.md"), &format!("# Change: Title of {slug}\n"));
        self.write(&format!("changes/{slug}/tasks.md"), "- [x] 1.1 Done\n- [ ] 1.2 Open\n");
        let delta =
            "## ADDED Requirements\n\n### Requirement: Lock\nIt SHALL lock.\n\n#### Scenario: X\n- **WHEN** x\n";
        self.write(&format!("changes/{slug}/specs/accounts/spec.md"), delta);
    }
}

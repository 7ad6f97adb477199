//! What has moved on when: first the index of the store, then the tags of results, then the answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use task_mcp_cache::Cache;
use task_mcp_changes::{EpochSource, FilesStore, Store, StoreOptions};
use task_mcp_scoreboard::{Commons, Plan, Scoreboard};
use task_mcp_state::State;
use task_mcp_telemetry::{Metrics, plan};
use task_mcp_tools::{Additions, Backing, Call, Executor, Inventory, Limits, Pool, Principal, Registry, builtin_tools};

/// The index's epoch, and what the epoch of the lists was each time it moved on.
struct Index {
    commons: Commons,
    lists_at_bump: Arc<Mutex<Vec<u64>>>,
}

impl EpochSource for Index {
    fn current(&self) -> u64 {
        self.commons.epochs().current("tree")
    }

    fn bump(&self) {
        self.lists_at_bump.lock().unwrap().push(self.commons.epochs().current("changes"));
        self.commons.epochs().bump("tree");
    }
}

/// A reader who takes the stamps of the lists between the two computes from an index that knows of the write, under epochs that are
/// about to go stale; in the other order it would keep the old list under the new epochs.
#[tokio::test]
async fn the_index_moves_on_before_the_tags_and_both_before_the_answer() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("openspec/changes")).unwrap();
    let inventory = Inventory::with(&Additions::default());
    let plan = Plan { seats: 1, series: plan(&inventory.names(), inventory.codes()) };
    let scoreboard = Scoreboard::create(&plan).unwrap();
    let seat = scoreboard.seat(0).unwrap();
    let metrics = Metrics::bind(&scoreboard, &seat, &inventory.names(), inventory.codes()).unwrap();
    let commons = Commons::create().unwrap();
    let lists_at_bump = Arc::new(Mutex::new(Vec::new()));
    let index = Index { commons: commons.clone(), lists_at_bump: Arc::clone(&lists_at_bump) };
    let pool = Arc::new(Pool::start(1, 16, &metrics.tools).unwrap());
    let options = StoreOptions { document_bytes: 1 << 20, changes: 100 };
    let store: Arc<dyn Store> = Arc::new(FilesStore::open(root.path(), options, Arc::new(index), pool).unwrap());
    let registry = Arc::new(Registry::of_tools(builtin_tools(&store)).unwrap());
    let limits = Limits { deadline: Duration::from_secs(30), response_bytes: 1 << 20, concurrency: 8 };
    let state = State::alone(metrics.state);
    let backing = Backing {
        store_id: store.id().to_owned(),
        cache: Cache::none(&commons, metrics.cache),
        ledger: state.ledger().clone(),
        bus: state.bus().clone(),
    };
    let executor = Executor::new(registry, limits, metrics.tools, backing);
    let call = Call::new(Principal::anonymous());
    let epoch = |tag: &str| commons.epochs().current(tag);

    for (answered, slug) in (1..).zip(["one-change", "two-changes"]) {
        let arguments = format!(r#"{{"slug":"{slug}","title":"A title"}}"#);
        executor.execute(&call, "change.open", &arguments).await.outcome.unwrap();
        let seen: Vec<u64> = lists_at_bump.lock().unwrap().drain(..).collect();
        assert!(!seen.is_empty() && seen.iter().all(|lists| *lists == answered - 1), "the index comes first: {seen:?}");
        assert_eq!((epoch("changes"), epoch(&format!("change:{slug}"))), (answered, 1), "the answer comes last");
        let page = executor.execute(&call, "changes.active", "{}").await.outcome.unwrap();
        assert!(String::from_utf8_lossy(&page.structured.unwrap()).contains(slug));
    }
    // What the arguments do not tell, the answer does: that documents came, and which specs were merged into.
    assert_eq!((epoch("documents"), epoch("folder:changes/two-changes")), (2, 1));
    executor.execute(&call, "change.open", r#"{"slug":"two-changes","title":"A title"}"#).await.outcome.unwrap();
    assert_eq!((epoch("changes"), epoch("documents")), (3, 2), "no document comes with a change that is resumed");
    let delta = "## ADDED Requirements\n\n### Requirement: X\nIt SHALL be.\n\n#### Scenario: Y\n- **WHEN** z\n- **THEN** it is\n";
    let specs = root.path().join("openspec/changes/two-changes/specs");
    std::fs::rename(specs.join("two-changes"), specs.join("accounts")).unwrap();
    std::fs::write(specs.join("accounts/spec.md"), delta).unwrap();
    let arguments = r#"{"slug":"two-changes","allowOpenTasks":true}"#;
    for _ in 0..2 {
        executor.execute(&call, "change.archive", arguments).await.outcome.unwrap();
        assert_eq!((epoch("documents"), epoch("spec:accounts"), epoch("folder:changes/two-changes")), (3, 1, 2));
    }
    assert_eq!((epoch("openspec"), epoch("spec:two-changes")), (0, 0));
    // One that is refused has written nothing that matters, and bumps all the same.
    executor.execute(&call, "change.archive", r#"{"slug":"not-there"}"#).await.outcome.unwrap_err();
    assert_eq!((epoch("changes"), epoch("change:not-there"), epoch("specs")), (6, 1, 3));
    assert_eq!((epoch("documents"), epoch("openspec")), (3, 0));
}

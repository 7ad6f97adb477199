//! What the built-in tools answer fits the schemas they promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use task_mcp_cache::Cache;
use task_mcp_changes::{ChangesError, EpochSource, FilesStore, Store, StoreOptions};
use task_mcp_mcp::Blocks;
use task_mcp_scoreboard::{Commons, Plan, Scoreboard};
use task_mcp_state::State;
use task_mcp_telemetry::{Metrics, plan};
use task_mcp_tools::{Additions, Backing, Call, Executor, Inventory, Limits, Pool, Principal, Registry, builtin_tools};

#[derive(Default)]
struct Epoch(AtomicU64);

impl EpochSource for Epoch {
    fn current(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn bump(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

struct World {
    registry: Arc<Registry>,
    executor: Executor,
    _root: tempfile::TempDir,
}

impl World {
    /// The shipped sample in a folder of its own, with the tools over it.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../src/demo/openspec");
        copy(&sample, &root.path().join("openspec"));
        let inventory = Inventory::with(&Additions::default());
        let plan = Plan { seats: 1, series: plan(&inventory.names(), inventory.codes()) };
        let scoreboard = Scoreboard::create(&plan).unwrap();
        let seat = scoreboard.seat(0).unwrap();
        let metrics = Metrics::bind(&scoreboard, &seat, &inventory.names(), inventory.codes()).unwrap();
        let pool = Arc::new(Pool::start(1, 16, &metrics.tools).unwrap());
        let options = StoreOptions { document_bytes: 1 << 20, changes: 100 };
        let store = FilesStore::open(root.path(), options, Arc::new(Epoch::default()), pool).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let registry = Arc::new(Registry::of_tools(builtin_tools(&store)).unwrap());
        let limits = Limits { deadline: Duration::from_secs(30), response_bytes: 1 << 20, concurrency: 8 };
        let cache = Cache::none(&Commons::create().unwrap(), metrics.cache);
        let state = State::alone(metrics.state);
        let backing = Backing {
            store_id: store.id().to_owned(),
            cache,
            ledger: state.ledger().clone(),
            bus: state.bus().clone(),
        };
        Self { executor: Executor::new(Arc::clone(&registry), limits, metrics.tools, backing), registry, _root: root }
    }

    /// Calls a tool, checks the answer against its output schema and the text form against the answer.
    async fn call(&self, tool: &str, arguments: Value) -> Value {
        let call = Call::new(Principal::anonymous());
        let result = self.executor.execute(&call, tool, &arguments.to_string()).await.outcome.unwrap();
        let answer: Value = serde_json::from_slice(&result.structured.unwrap()).unwrap();
        let description = self.registry.descriptions().iter().find(|described| described.name == tool).unwrap();
        let schema = jsonschema::validator_for(description.output_schema.as_ref().unwrap()).unwrap();
        let problems: Vec<String> =
            schema.iter_errors(&answer).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(problems.is_empty(), "{tool}: {problems:?} in {answer:#}");
        let known = &description.output_schema.as_ref().unwrap()["properties"];
        for field in answer.as_object().unwrap().keys() {
            assert!(known.get(field).is_some(), "{tool} answers `{field}`, of which its schema says nothing");
        }
        let Blocks::Text(text) = result.content else { panic!("{tool} answers blocks") };
        let text: String = serde_json::from_slice(&text).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), answer);
        answer
    }
}

#[tokio::test]
async fn answers_fit_their_schemas() {
    let world = World::new();
    let page = world.call("changes.active", json!({ "pageSize": 1 })).await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["total"]), (1, &json!(3)));
    world.call("changes.active", json!({ "pageToken": page["nextPageToken"] })).await;
    world.call("change.open", json!({ "slug": "fresh-one", "title": "Fresh", "template": "chore", "ttl": 60 })).await;
    let shown = world.call("change.show", json!({ "slug": "fresh-one" })).await;
    assert_eq!(shown["lock"]["owner"], "anonymous");
    world.call("change.show", json!({ "slug": "add-dunning-notices" })).await;
    let archived = world.call("change.archive", json!({ "slug": "add-dunning-notices" })).await;
    assert_eq!(archived["alreadyArchived"], false);
    let again = world.call("change.archive", json!({ "slug": "add-dunning-notices" })).await;
    assert_eq!((&again["alreadyArchived"], &again["receipt"]), (&json!(true), &archived["receipt"]));
}

#[test]
fn the_inventory_is_the_registry_before_there_is_a_store() {
    let (world, inventory) = (World::new(), Inventory::with(&Additions::default()));
    let tools: Vec<&str> = world.registry.names().collect();
    let names = inventory.names();
    let (of_tools, of_methods) = names.split_at(tools.len());
    assert_eq!(
        (of_tools, of_methods.len()),
        (tools.as_slice(), 4),
        "tools come first, then the methods of the protocol"
    );
    assert_eq!(inventory.codes(), world.registry.error_codes());
    assert!(ChangesError::CODES.iter().all(|code| inventory.codes().contains(code)));
}

#[test]
fn what_a_client_is_shown_is_good() {
    for described in World::new().registry.descriptions() {
        assert!(described.description.len() > 40 && !described.title.is_empty(), "{}", described.name);
        assert!(jsonschema::validator_for(&described.input_schema).is_ok(), "{}", described.name);
        assert_eq!(
            described.input_schema["additionalProperties"], false,
            "{}: a misspelt argument is told",
            described.name
        );
    }
}

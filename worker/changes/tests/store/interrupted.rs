//! Archives that were killed half-way: the next store finds the tree as it was before, or as it is after.

use std::fs;

use task_mcp_changes::Store;

use crate::world::{DAY, World, archiving};

const SPEC: &str = "openspec/specs/accounts/spec.md";
const JOURNAL: &str = "openspec/.task-mcp/journal/archive.json";

/// Lays the tree out as a process leaves it that died after writing a spec: journal, receipt, lock and new text.
fn died_before_the_move(world: &World, before: Option<&str>) {
    world.add_ready("lock-it");
    world.write(SPEC, "half done\n");
    world.write("openspec/changes/lock-it/receipt.json", "{}");
    world.write("openspec/changes/archive/.openspec-archive.lock", r#"{"pid":4194301,"nonce":"x"}"#);
    let journal = serde_json::json!({
        "pid": 4_194_301, "slug": "lock-it", "archived_as": format!("{DAY}-lock-it"), "specs": [[SPEC, before]],
    });
    world.write(JOURNAL, &journal.to_string());
}

#[tokio::test]
async fn before_the_move_everything_is_put_back() {
    let world = World::new();
    died_before_the_move(&world, Some("as it was\n"));
    world.another();
    assert_eq!(world.read(SPEC), "as it was\n");
    for gone in [JOURNAL, "openspec/changes/lock-it/receipt.json", "openspec/changes/archive/.openspec-archive.lock"] {
        assert!(!world.path(gone).exists(), "{gone}");
    }
}

#[tokio::test]
async fn a_new_spec_is_taken_away_and_the_archive_can_be_repeated() {
    let world = World::new();
    died_before_the_move(&world, None);
    let store = world.another();
    assert!(!world.path("openspec/specs/accounts").exists());
    assert!(store.archive(archiving("lock-it", "ana")).await.unwrap().archived);
    assert!(world.read(SPEC).contains("Lock lock-it"));
}

#[tokio::test]
async fn after_the_move_it_is_finished() {
    let world = World::new();
    died_before_the_move(&world, None);
    fs::rename(world.path("openspec/changes/lock-it"), world.path(&format!("openspec/changes/archive/{DAY}-lock-it")))
        .unwrap();
    let store = world.another();
    assert_eq!(world.read(SPEC), "half done\n", "what was written stands");
    assert!(!world.path(JOURNAL).exists());
    assert!(store.archive(archiving("lock-it", "ana")).await.unwrap().already_archived);
}

#[tokio::test]
async fn an_archive_lock_of_a_live_or_young_process_is_respected() {
    let world = World::new();
    world.add_ready("lock-it");
    world.write("openspec/changes/archive/.openspec-archive.lock", r#"{"pid":4194301,"nonce":"x"}"#);
    let error = world.store.archive(archiving("lock-it", "ana")).await.unwrap_err();
    assert_eq!(error.code(), "EBUSY");
    assert!(world.path("openspec/changes/lock-it/proposal.md").exists() && !world.path(SPEC).exists());
    assert!(!world.path("openspec/changes/lock-it/receipt.json").exists() && !world.path(JOURNAL).exists());
    let lock = fs::File::open(world.path("openspec/changes/archive/.openspec-archive.lock")).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(120);
    lock.set_times(fs::FileTimes::new().set_modified(old)).unwrap();
    assert!(world.store.archive(archiving("lock-it", "ana")).await.unwrap().archived);
}

//! Trees that bring links along: nothing outside the root is read, made or written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use task_mcp_changes::{ActiveQuery, ChangesError, FilesStore, Store, StoreOptions};

use crate::world::{World, archiving, opening};

/// What is outside, to be the same afterwards.
fn listing(dir: &Path) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        found.push((entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path()).ok()));
    }
    found.sort();
    found
}

fn refused<T>(result: Result<T, ChangesError>, path: &str) {
    let error = result.err().unwrap_or_else(|| panic!("{path} was followed"));
    assert_eq!((error.code(), error.details().unwrap()["path"].as_str()), ("EPATH_ESCAPE", Some(path)), "{error}");
}

#[tokio::test]
async fn our_own_folder_may_not_be_a_link() {
    for link in
        ["openspec/.task-mcp", "openspec/.task-mcp/.gitignore", "openspec/.task-mcp/tmp", "openspec/.task-mcp/locks"]
    {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join(".gitignore"), "keep").unwrap();
        fs::create_dir(outside.path().join("journal")).unwrap();
        fs::write(outside.path().join("journal/archive.json"), "{}").unwrap();
        let before = listing(outside.path());
        let world = World::new();
        world.add_ready("lock-it");
        fs::create_dir_all(world.path(link).parent().unwrap()).unwrap();
        let target =
            if link.ends_with(".gitignore") { outside.path().join(".gitignore") } else { outside.path().into() };
        symlink(target, world.path(link)).unwrap();
        refused(world.another().open(opening("add-login", "ana")).await, link);
        assert_eq!(listing(outside.path()), before, "{link}");
        assert_eq!(
            world.another().active(ActiveQuery::default()).await.unwrap().total,
            1,
            "reading is no harm: {link}"
        );
    }
}

#[tokio::test]
async fn the_folders_of_the_tree_may_not_lead_out() {
    for link in ["openspec/changes", "openspec/changes/archive", "openspec/specs"] {
        let outside = tempfile::tempdir().unwrap();
        for name in ["secret", "2026-01-01-secret"] {
            fs::create_dir(outside.path().join(name)).unwrap();
            fs::write(outside.path().join(name).join("proposal.md"), "# Change: secret\n").unwrap();
            fs::write(outside.path().join(name).join("receipt.json"), "{}").unwrap();
        }
        let before = listing(outside.path());
        let world = World::new();
        if link == "openspec/changes" {
            fs::remove_dir(world.path(link)).unwrap();
        }
        symlink(outside.path(), world.path(link)).unwrap();
        refused(world.store.active(ActiveQuery::default()).await, link);
        refused(world.store.show(&crate::world::slug("secret")).await, link);
        refused(world.store.archive(archiving("secret", "ana")).await, link);
        refused(world.store.open(opening("add-login", "ana")).await, link);
        let options = StoreOptions { document_bytes: 1024, changes: 1 };
        refused(FilesStore::open(world.root(), options, world.epochs.clone(), world.offload.clone()), link);
        assert_eq!(listing(outside.path()), before, "{link}");
    }
}

#[test]
fn a_tree_outside_the_root_is_refused() {
    let outside = World::new();
    let root = tempfile::tempdir().unwrap();
    symlink(outside.path("openspec"), root.path().join("openspec")).unwrap();
    let options = StoreOptions { document_bytes: 1024, changes: 1 };
    refused(FilesStore::open(root.path(), options, outside.epochs.clone(), outside.offload.clone()), "openspec");
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_listed_with_what_is_known() {
    let world = World::new();
    world.add_ready("lock-it");
    // Permissions do not stop root, who may run this; a path longer than the system takes stops everybody.
    let folders = || format!("{}/", "d".repeat(250)).repeat(9);
    let (deep, rest) = (world.path("openspec/changes/too-deep").join(folders()), world.path("rest"));
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir_all(rest.join(folders())).unwrap();
    fs::rename(&rest, deep.join("rest")).unwrap();
    let page = world.store.active(ActiveQuery::default()).await.unwrap();
    let mut titles: Vec<&str> = page.items.iter().map(|item| item.title.as_str()).collect();
    titles.sort_unstable();
    assert_eq!(titles, ["lock-it title", "too-deep"]);
}

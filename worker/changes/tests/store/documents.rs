//! Documents of a tree that people edit: which there are, what is read, what is refused.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;

use task_mcp_changes::{Area, DocumentName, EpochSource, Store, document_names};

use crate::world::{World, archiving};

async fn uris(world: &World) -> Vec<String> {
    world.store.documents().await.unwrap().iter().map(|entry| entry.name.uri()).collect()
}

async fn code(world: &World, uri: &str) -> &'static str {
    world.store.document(&DocumentName::of_uri(uri).unwrap()).await.map_or_else(|error| error.code(), |_| "read")
}

#[tokio::test]
async fn what_is_no_document_is_not_listed() {
    let world = World::new();
    world.add_ready("lock-it");
    for other in [
        "changes/lock-it/notes.md",
        "changes/lock-it/specs/spec.md",
        "changes/lock-it/specs/area/notes.md",
        "changes/lock-it/specs/.hidden/spec.md",
        "changes/No_Slug/tasks.md",
        "changes/.hidden/tasks.md",
        "changes/archive/2026-01-01-old/tasks.md",
        "specs/spec.md",
        "specs/.hidden/spec.md",
    ] {
        world.write(&format!("openspec/{other}"), "x");
    }
    world.write("openspec/changes/lock-it/design.md", "# Design\n");
    world.write("openspec/changes/lock-it/specs/area/b c/spec.md", "x");
    world.write("openspec/specs/area/accounts/spec.md", "x");
    let listed = [
        "change://lock-it/proposal",
        "change://lock-it/tasks",
        "change://lock-it/design",
        "change://lock-it/delta/accounts",
        "change://lock-it/delta/area/b%20c",
        "spec://area/accounts",
    ];
    assert_eq!(uris(&world).await, listed);
    for uri in listed {
        assert_eq!(code(&world, uri).await, "read", "{uri}");
    }
    let names = |area| document_names(world.root(), &area).iter().map(DocumentName::uri).collect::<Vec<_>>();
    assert_eq!(names(Area::Change("lock-it".to_owned())), listed[..5]);
    assert_eq!(names(Area::Specs), listed[5..]);
    assert!(names(Area::Change("nothing-here".to_owned())).is_empty());
}

#[tokio::test]
async fn the_list_comes_from_the_index_and_moves_with_the_epoch() {
    let world = World::new();
    world.add_ready("lock-it");
    assert_eq!(uris(&world).await.len(), 3);
    let jobs = world.offload.0.load(Ordering::SeqCst);
    // Its times are those of the files that are there already: nothing but the folders tell that it came.
    let design = world.path("openspec/changes/lock-it/design.md");
    fs::copy(world.path("openspec/changes/lock-it/proposal.md"), &design).unwrap();
    let old = fs::metadata(world.path("openspec/changes/lock-it/proposal.md")).unwrap().modified().unwrap();
    let times = fs::FileTimes::new().set_modified(old);
    fs::File::open(&design).unwrap().set_times(times).unwrap();
    assert_eq!(uris(&world).await.len(), 3, "nobody said so yet");
    assert_eq!(world.offload.0.load(Ordering::SeqCst), jobs);
    world.clock.advance_s(10);
    world.epochs.bump();
    assert_eq!(uris(&world).await.len(), 4);
    world.epochs.bump();
    fs::remove_file(&design).unwrap();
    assert_eq!(uris(&world).await.len(), 3);
}

#[tokio::test]
async fn an_archived_change_has_no_documents_and_its_specs_have() {
    let world = World::new();
    world.add_ready("lock-it");
    world.store.archive(archiving("lock-it", "ana")).await.unwrap();
    assert_eq!(uris(&world).await, ["spec://accounts"]);
    assert_eq!(code(&world, "change://lock-it/tasks").await, "EARCHIVED");
    assert_eq!(code(&world, "spec://accounts").await, "read");
}

#[tokio::test]
async fn no_link_is_read_wherever_it_lies() {
    let outside = tempfile::tempdir().unwrap();
    for file in ["tasks.md", "spec.md", "accounts/spec.md"] {
        fs::create_dir_all(outside.path().join(file).parent().unwrap()).unwrap();
        fs::write(outside.path().join(file), "secret").unwrap();
    }
    let world = World::new();
    world.add_ready("lock-it");
    let link = |target: &str, at: &str| {
        let at = world.path(&format!("openspec/{at}"));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(outside.path().join(target), at).unwrap();
    };
    fs::remove_file(world.path("openspec/changes/lock-it/tasks.md")).unwrap();
    link("tasks.md", "changes/lock-it/tasks.md");
    link("", "changes/linked-dir");
    link("", "changes/lock-it/specs/linked");
    link("spec.md", "changes/lock-it/specs/file/spec.md");
    link("spec.md", "specs/file/spec.md");
    link("", "specs/linked");
    for uri in [
        "change://lock-it/tasks",
        "change://linked-dir/tasks",
        "change://lock-it/delta/linked",
        "change://lock-it/delta/linked/accounts",
        "change://lock-it/delta/file",
        "spec://file",
        "spec://linked",
        "spec://linked/accounts",
    ] {
        let error = world.store.document(&DocumentName::of_uri(uri).unwrap()).await.unwrap_err();
        assert_eq!(error.code(), "EPATH_ESCAPE", "{uri}");
        assert!(!error.to_string().contains(&*outside.path().to_string_lossy()), "{error}");
    }
    assert_eq!(uris(&world).await, ["change://lock-it/proposal", "change://lock-it/delta/accounts"]);
}

#[tokio::test]
async fn documents_have_a_limit_and_are_text_and_are_files() {
    let world = World::with_limits(16, 1);
    world.write("openspec/changes/lock-it/tasks.md", &"x".repeat(17));
    world.write("openspec/changes/lock-it/design.md", &"x".repeat(16));
    fs::write(world.path("openspec/changes/lock-it/proposal.md"), b"\xff").unwrap();
    fs::create_dir_all(world.path("openspec/specs/folder/spec.md")).unwrap();
    world.write("openspec/specs/file", "x");
    for (uri, expected) in [
        ("change://lock-it/tasks", "EBADSHAPE_SIZE_EXCEEDED"),
        ("change://lock-it/design", "read"),
        ("change://lock-it/proposal", "EBADSHAPE_NOT_UTF8"),
        ("spec://folder", "ENODOCUMENT"),
        ("spec://file/below", "ENODOCUMENT"),
    ] {
        assert_eq!(code(&world, uri).await, expected, "{uri}");
    }
    for number in 0..98 {
        world.write(&format!("openspec/specs/s{number}/spec.md"), "x");
    }
    world.epochs.bump();
    let error = world.store.documents().await.unwrap_err();
    assert_eq!(error.code(), "ETOOMANY");
    assert!(error.to_string().contains("101 documents") && error.hint().unwrap().contains("store.changes"), "{error}");
}

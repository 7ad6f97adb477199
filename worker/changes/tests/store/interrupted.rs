//! Archives that were killed half-way: the next store finds the tree as it was before, or as it is after, and never undoes
//! what came later.

use std::fs;

use serde_json::{Value, json};
use task_mcp_changes::{ActiveQuery, Store};

use crate::world::{DAY, World, archiving, journal_of};

const SPEC: &str = "openspec/specs/accounts/spec.md";
const RECEIPT: &str = "openspec/changes/lock-it/receipt.json";
const JOURNAL: &str = "openspec/.task-mcp/journal/archive.json";
const BAD: &str = "openspec/.task-mcp/journal/archive.json.bad";
const LOCK: &str = "openspec/changes/archive/.openspec-archive.lock";

/// Lays the tree out as a process leaves it that died after writing a spec: journal, receipt, lock and new text.
fn died_before_the_move(world: &World, before: Option<&str>) {
    world.add_ready("lock-it");
    world.write(SPEC, "half done\n");
    world.write(RECEIPT, "{}");
    world.write(LOCK, r#"{"pid":4194301,"nonce":"the-nonce"}"#);
    let files = [(SPEC, before, Some("half done\n")), (RECEIPT, None, Some("{}"))];
    world.write(JOURNAL, &journal_of(world, "lock-it", &files).to_string());
}

#[tokio::test]
async fn before_the_move_everything_is_put_back() {
    let world = World::new();
    died_before_the_move(&world, Some("as it was\n"));
    world.another();
    assert_eq!(world.read(SPEC), "as it was\n");
    for gone in [JOURNAL, BAD, RECEIPT, LOCK] {
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
async fn a_running_server_settles_it_before_it_archives() {
    let world = World::new();
    died_before_the_move(&world, None);
    assert!(world.store.archive(archiving("lock-it", "ana")).await.unwrap().archived);
    assert!(world.read(SPEC).contains("Lock lock-it"));
}

#[tokio::test]
async fn the_empty_folder_of_a_spec_not_yet_written_is_taken_away() {
    let world = World::new();
    died_before_the_move(&world, None);
    fs::remove_file(world.path(SPEC)).unwrap();
    world.another();
    assert!(!world.path("openspec/specs/accounts").exists() && !world.path(BAD).exists());
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
async fn an_archive_finished_by_somebody_else_on_another_day_stands() {
    let world = World::new();
    died_before_the_move(&world, Some("as it was\n"));
    fs::rename(world.path("openspec/changes/lock-it"), world.path("openspec/changes/archive/2026-03-05-lock-it"))
        .unwrap();
    world.another();
    assert_eq!(world.read(SPEC), "half done\n");
    assert!(!world.path(JOURNAL).exists() && !world.path(BAD).exists());
}

#[tokio::test]
async fn a_folder_that_is_merely_gone_finishes_nothing() {
    for edited in [false, true] {
        let world = World::new();
        died_before_the_move(&world, Some("as it was\n"));
        fs::rename(world.path("openspec/changes/lock-it"), world.path("stashed")).unwrap();
        if edited {
            world.write(SPEC, "edited by hand\n");
        }
        world.another();
        assert!(!world.path(JOURNAL).exists() && !world.path(LOCK).exists());
        if edited {
            assert_eq!(world.read(SPEC), "edited by hand\n");
            assert!(world.read(BAD).contains("as it was"), "the old text is still to be had");
        } else {
            assert_eq!(world.read(SPEC), "as it was\n");
        }
    }
}

#[tokio::test]
async fn a_journal_of_another_user_or_another_path_is_left_to_them() {
    for what in ["another path", "another user"] {
        let world = World::new();
        died_before_the_move(&world, Some("as it was\n"));
        if what == "another path" {
            let journal = world.read(JOURNAL).replace(&*world.root().to_string_lossy(), "/elsewhere");
            world.write(JOURNAL, &journal);
        } else if std::os::unix::fs::chown(world.path(JOURNAL), Some(12_345), None).is_err() {
            // Only root may give a file away.
            continue;
        }
        let (journal, store) = (world.read(JOURNAL), world.another());
        assert_eq!(store.active(ActiveQuery::default()).await.unwrap().total, 1, "{what}");
        let error = store.archive(archiving("lock-it", "ana")).await.unwrap_err();
        assert_eq!((error.code(), error.details().unwrap()["path"].as_str()), ("EBUSY", Some(JOURNAL)), "{what}");
        assert_eq!((world.read(SPEC).as_str(), world.read(JOURNAL)), ("half done\n", journal), "{what}");
        assert!(!world.path(BAD).exists(), "{what}");
        fs::remove_file(world.path(JOURNAL)).unwrap();
        let error = store.archive(archiving("lock-it", "ana")).await.unwrap_err();
        assert_ne!(error.details().map(|details| details["path"].clone()), Some(json!(JOURNAL)), "the remedy works");
    }
}

#[tokio::test]
async fn a_slug_used_again_does_not_undo_its_archive() {
    let world = World::new();
    died_before_the_move(&world, Some("as it was\n"));
    fs::rename(world.path("openspec/changes/lock-it"), world.path(&format!("openspec/changes/archive/{DAY}-lock-it")))
        .unwrap();
    world.write("openspec/changes/lock-it/proposal.md", "# Change: again\n");
    world.another();
    assert_eq!(world.read(SPEC), "half done\n");
}

#[tokio::test]
async fn later_work_on_a_spec_is_kept_and_the_rest_is_put_back() {
    let world = World::new();
    died_before_the_move(&world, Some("as it was\n"));
    world.write(SPEC, "edited by hand\n");
    let store = world.another();
    assert_eq!(world.read(SPEC), "edited by hand\n");
    assert!(!world.path(RECEIPT).exists() && !world.path(JOURNAL).exists());
    let aside: Value = serde_json::from_str(&world.read(BAD)).unwrap();
    assert_eq!(aside["files"][0]["before"], "as it was\n", "the old text is still to be had");
    assert_eq!(store.active(ActiveQuery::default()).await.unwrap().total, 1);
}

#[test]
fn a_receipt_that_was_there_before_is_put_back() {
    let world = World::new();
    world.add_ready("lock-it");
    world.write(RECEIPT, "{}");
    world.write(JOURNAL, &journal_of(&world, "lock-it", &[(RECEIPT, Some("mine"), Some("{}"))]).to_string());
    world.another();
    assert_eq!(world.read(RECEIPT), "mine");
}

#[tokio::test]
async fn unfinished_files_are_swept_by_the_next_store_and_the_next_writer() {
    let world = World::new();
    let litter = "openspec/.task-mcp/tmp/.task-mcp-abc.tmp";
    world.write(litter, "half a spec");
    world.write("openspec/.task-mcp/tmp/lock-it1/lock-it/tasks.md", "half a change");
    let store = world.another();
    assert_eq!(fs::read_dir(world.path("openspec/.task-mcp/tmp")).unwrap().count(), 0);
    world.write(litter, "half a spec");
    world.add_ready("lock-it");
    store.archive(archiving("lock-it", "ana")).await.unwrap();
    assert!(!world.path(litter).exists());
}

#[tokio::test]
async fn an_archive_lock_of_a_live_or_young_process_is_respected() {
    let world = World::new();
    world.add_ready("lock-it");
    world.write(LOCK, r#"{"pid":4194301,"nonce":"x"}"#);
    let error = world.store.archive(archiving("lock-it", "ana")).await.unwrap_err();
    assert_eq!(error.code(), "EBUSY");
    assert!(world.path("openspec/changes/lock-it/proposal.md").exists() && !world.path(SPEC).exists());
    assert!(!world.path(RECEIPT).exists() && !world.path(JOURNAL).exists());
    let lock = fs::File::open(world.path(LOCK)).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(120);
    lock.set_times(fs::FileTimes::new().set_modified(old)).unwrap();
    assert!(world.store.archive(archiving("lock-it", "ana")).await.unwrap().archived);
}

#[tokio::test]
async fn a_journal_that_is_not_of_this_tree_is_set_aside_and_does_nothing() {
    let outside = tempfile::tempdir().unwrap();
    let files = [(SPEC, Some("as it was\n"), Some("half done\n"))];
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Value));
    let changes: [Change<'_>; 8] = [
        ("another openspec/", &|j| j["inode"] = json!(j["inode"].as_u64().unwrap() + 1)),
        ("another format", &|j| j["format"] = json!(1)),
        ("a slug with dots", &|j| j["slug"] = json!("../../../other")),
        ("an archive elsewhere", &|j| j["archived_as"] = json!("../../../other")),
        ("a file of git's", &|j| j["files"][0]["path"] = json!(".git/config")),
        ("a path with dots", &|j| j["files"][0]["path"] = json!("openspec/specs/../../x/spec.md")),
        ("a link out", &|j| j["files"][0]["path"] = json!("openspec/specs/out/spec.md")),
        ("no journal", &|j| *j = json!("zz")),
    ];
    for (what, change) in changes {
        let world = World::new();
        world.add_ready("lock-it");
        world.write(SPEC, "half done\n");
        world.write(".git/config", "half done\n");
        world.write("x/spec.md", "half done\n");
        fs::write(outside.path().join("spec.md"), "half done\n").unwrap();
        std::os::unix::fs::symlink(outside.path(), world.path("openspec/specs/out")).unwrap();
        let mut journal = journal_of(&world, "lock-it", &files);
        change(&mut journal);
        world.write(JOURNAL, &journal.to_string());
        let store = world.another();
        for path in [SPEC, ".git/config", "x/spec.md"] {
            assert_eq!(world.read(path), "half done\n", "{what}: {path}");
        }
        assert_eq!(fs::read_to_string(outside.path().join("spec.md")).unwrap(), "half done\n", "{what}");
        assert!(!world.path(JOURNAL).exists() && world.path(BAD).exists(), "{what}");
        assert_eq!(store.active(ActiveQuery::default()).await.unwrap().total, 1, "{what}");
    }
}

#[tokio::test]
async fn a_pipe_or_a_folder_for_a_journal_or_a_lock_stops_nobody() {
    for what in ["pipe", "folder", "link"] {
        let world = World::new();
        world.add_ready("lock-it");
        for path in [JOURNAL, LOCK] {
            let path = world.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match what {
                "pipe" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap(),
                "folder" => fs::create_dir_all(path.join("x")).unwrap(),
                _ => std::os::unix::fs::symlink("/dev/zero", &path).unwrap(),
            }
        }
        let store = world.another();
        assert_eq!(store.active(ActiveQuery::default()).await.unwrap().total, 1, "{what}");
        assert_eq!(store.archive(archiving("lock-it", "ana")).await.unwrap_err().code(), "EBUSY", "{what}");
        assert!(world.path(BAD).symlink_metadata().is_ok(), "{what}");
    }
}

//! The files store: what it writes, and what it refuses to read.

use std::fs;
use std::os::unix::fs::symlink;

use task_mcp_changes::validate::change_in;
use task_mcp_changes::{ActiveQuery, ArchiveRequest, FilesStore, OpenTasks, Store, StoreOptions, SystemClock, cli};

use crate::world::{DAY, DELTA, World, archiving, opening, slug};

#[tokio::test]
async fn a_fresh_change_passes_validate() {
    let world = World::new();
    world.store.open(opening("add-login", "ana")).await.unwrap();
    let issues = change_in(world.root(), "add-login").unwrap();
    assert_eq!(issues, []);
    assert!(fs::read_dir(world.path("openspec/.task-mcp/tmp")).unwrap().next().is_none(), "nothing is left behind");
}

#[tokio::test]
async fn archiving_writes_the_specs_the_command_writes() {
    let (tool, command) = (World::new(), World::new());
    for world in [&tool, &command] {
        world.add_ready("lock-it");
        world.write("openspec/specs/accounts/spec.md", "# accounts Specification\n\n## Purpose\nAccounts of people, how they are made, kept and closed again.\n\n## Requirements\n### Requirement: Old\nIt SHALL stay.\n\n#### Scenario: S\n- x\n");
    }
    let archived = tool.store.archive(archiving("lock-it", "ana")).await.unwrap();
    let argv = ["archive", "lock-it", "-y", "--json"].map(str::to_owned);
    assert_eq!(cli::run(&argv, command.root(), &SystemClock).exit_code, 0);
    let spec = "openspec/specs/accounts/spec.md";
    assert_eq!(tool.read(spec), command.read(spec));
    assert_eq!(archived.archived_as, format!("{DAY}-lock-it"));
    let folder = format!("openspec/changes/archive/{DAY}-lock-it");
    let receipt: serde_json::Value = serde_json::from_str(&tool.read(&format!("{folder}/receipt.json"))).unwrap();
    assert_eq!(receipt["slug"], "lock-it");
    let touched: Vec<&str> = receipt["filesTouched"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    assert!(touched.contains(&spec) && touched.contains(&format!("{folder}/tasks.md").as_str()), "{touched:?}");
    for path in touched {
        assert!(tool.path(path).exists(), "{path}");
    }
    assert!(!tool.path("openspec/changes/archive/.openspec-archive.lock").exists());
}

#[tokio::test]
async fn an_archive_of_the_command_has_a_receipt_made_up() {
    let world = World::new();
    world.add_ready("lock-it");
    let argv = ["archive", "lock-it", "-y"].map(str::to_owned);
    assert_eq!(cli::run(&argv, world.root(), &SystemClock).exit_code, 0);
    let answer = world.store.archive(archiving("lock-it", "ana")).await.unwrap();
    assert!(answer.already_archived && answer.receipt.files_touched.iter().any(|f| f.ends_with("/tasks.md")));
    assert!(!world.path(&format!("openspec/changes/archive/{}/receipt.json", answer.archived_as)).exists());
}

#[tokio::test]
async fn an_untouched_skeleton_is_not_merged_and_a_begun_one_is_refused() {
    let world = World::new();
    world.store.open(opening("add-login", "ana")).await.unwrap();
    let skeleton = "openspec/changes/add-login/specs/add-login/spec.md";
    let text = world.read(skeleton);
    world.write(skeleton, &text.replace("[TBD: a short name]", "Named"));
    let error = world.store.archive(archiving("add-login", "ana")).await.unwrap_err();
    assert_eq!(
        (error.code(), error.details().unwrap()["code"].as_str()),
        ("EBADSHAPE_INVALID_DELTA", Some("placeholder_left"))
    );
    world.write(skeleton, &text);
    world.write("openspec/changes/add-login/specs/accounts/spec.md", DELTA);
    let archived = world.store.archive(archiving("add-login", "ana")).await.unwrap();
    assert!(archived.warnings[0].contains("untouched template"), "{:?}", archived.warnings);
    assert!(world.path("openspec/specs/accounts/spec.md").exists());
    assert!(!world.path("openspec/specs/add-login").exists());
}

#[tokio::test]
async fn a_refused_archive_changes_nothing_and_says_what_the_command_says() {
    let world = World::new();
    world.add_ready("bad-one");
    world.write(
        "openspec/changes/bad-one/specs/accounts/spec.md",
        "## MODIFIED Requirements\n### Requirement: Nope\nIt SHALL.\n#### Scenario: S\n- x\n",
    );
    let error = world.store.archive(archiving("bad-one", "ana")).await.unwrap_err();
    assert_eq!(error.code(), "EBADSHAPE_INVALID_DELTA");
    assert_eq!(error.details().unwrap()["code"], "archive_spec_update_failed");
    assert!(error.to_string().contains("target spec does not exist"), "{error}");
    assert!(!world.path("openspec/changes/archive").exists() && !world.path("openspec/.task-mcp").exists());
}

#[tokio::test]
async fn an_expired_lock_is_free() {
    let world = World::new();
    world.store.open(opening("add-login", "ana")).await.unwrap();
    world.clock.advance_s(3599);
    assert_eq!(world.store.open(opening("add-login", "bob")).await.unwrap_err().code(), "ELOCKED");
    world.clock.advance_s(1);
    assert!(world.store.open(opening("add-login", "bob")).await.unwrap().locked);
    assert_eq!(world.another().open(opening("add-login", "ana")).await.unwrap_err().code(), "ELOCKED");
}

#[tokio::test]
async fn one_of_many_wins_the_lock() {
    let world = World::new();
    let stores: Vec<FilesStore> = (0..8).map(|_| world.another()).collect();
    let won: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = stores
            .iter()
            .enumerate()
            .map(|(i, store)| {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(store.open(opening("add-login", &format!("p{i}")))).is_ok()
                })
            })
            .collect();
        tries.into_iter().map(|t| usize::from(t.join().unwrap())).sum()
    });
    assert_eq!(won, 1);
}

#[tokio::test]
async fn links_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("proposal.md"), "# Change: secret\n").unwrap();
    let world = World::new();
    world.add_ready("linked-file");
    symlink(outside.path(), world.path("openspec/changes/linked-dir")).unwrap();
    fs::remove_file(world.path("openspec/changes/linked-file/proposal.md")).unwrap();
    symlink(outside.path().join("proposal.md"), world.path("openspec/changes/linked-file/proposal.md")).unwrap();
    for name in ["linked-dir", "linked-file"] {
        for error in [
            world.store.show(&slug(name)).await.unwrap_err(),
            world.store.archive(archiving(name, "ana")).await.unwrap_err(),
        ] {
            assert_eq!(error.code(), "EPATH_ESCAPE", "{name}");
            assert!(!error.to_string().contains(&*outside.path().to_string_lossy()), "{error}");
        }
    }
    let page = world.store.active(ActiveQuery::default()).await.unwrap();
    assert_eq!(page.items.iter().map(|i| i.title.as_str()).collect::<Vec<_>>(), ["linked-file"]);
}

#[tokio::test]
async fn a_spec_folder_that_leaves_the_tree_is_not_written() {
    let outside = tempfile::tempdir().unwrap();
    let world = World::new();
    world.add_ready("lock-it");
    fs::create_dir_all(world.path("openspec/specs")).unwrap();
    symlink(outside.path(), world.path("openspec/specs/accounts")).unwrap();
    let error = world.store.archive(archiving("lock-it", "ana")).await.unwrap_err();
    assert_eq!(error.details().unwrap()["path"], "openspec/specs/accounts/spec.md", "{error}");
    let argv = ["archive", "lock-it", "-y"].map(str::to_owned);
    let output = cli::run(&argv, world.root(), &SystemClock);
    assert!(output.stderr.contains("Refusing to archive through a path outside"), "{output:?}");
    fs::remove_file(world.path("openspec/specs/accounts")).unwrap();
    fs::remove_dir_all(world.path("openspec/changes/archive")).unwrap();
    symlink(outside.path(), world.path("openspec/changes/archive")).unwrap();
    assert_eq!(world.store.archive(archiving("lock-it", "ana")).await.unwrap_err().code(), "EPATH_ESCAPE");
    assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn documents_have_a_limit_and_are_text() {
    let world = World::with_limits(2048, 10);
    world.add_ready("too-large");
    world.write("openspec/changes/too-large/tasks.md", &"- [ ] x\n".repeat(300));
    let error = world.store.show(&slug("too-large")).await.unwrap_err();
    assert_eq!(error.code(), "EBADSHAPE_SIZE_EXCEEDED");
    assert!(error.to_string().contains("openspec/changes/too-large/tasks.md is larger than 2048 bytes"), "{error}");
    world.add_ready("no-text");
    fs::write(world.path("openspec/changes/no-text/proposal.md"), b"# \xff\n").unwrap();
    assert_eq!(world.store.show(&slug("no-text")).await.unwrap_err().code(), "EBADSHAPE_NOT_UTF8");
    assert_eq!(world.store.active(ActiveQuery::default()).await.unwrap().total, 2, "bad documents hide no change");
}

#[tokio::test]
async fn open_tasks_are_counted() {
    let world = World::new();
    world.add_ready("half-done");
    world.write("openspec/changes/half-done/tasks.md", "- [x] a\n- [ ] b\n- [ ] c\n");
    let request = ArchiveRequest { open_tasks: OpenTasks::Refuse, ..archiving("half-done", "ana") };
    let error = world.store.archive(request).await.unwrap_err();
    let details = serde_json::json!({"slug": "half-done", "open": 2, "total": 3, "tasks": ["b", "c"]});
    assert_eq!(error.details().unwrap(), details);
}

#[test]
fn a_root_without_a_tree_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let world = World::new();
    let options = StoreOptions { document_bytes: 1024, changes: 1 };
    let opened = FilesStore::open(empty.path(), options, world.epochs.clone(), world.offload.clone());
    assert_eq!(opened.err().unwrap().code(), "ENOTREE");
}

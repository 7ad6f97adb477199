//! Writers beside one another, and what others left in the tree: nobody's work is lost, nobody waits for ever.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::civil::Date;
use nix::fcntl::{Flock, FlockArg};
use task_mcp_changes::{ActiveQuery, Clock, FilesStore, Store, StoreOptions, SystemClock, cli};

use crate::world::{DAY, World, archiving, opening, slug};

const SPEC: &str = "openspec/specs/accounts/spec.md";
const CLAIM: &str = "openspec/changes/archive/.openspec-archive.lock";
const LOCK: &str = "openspec/.task-mcp/locks/add-login.json";
const MOUNTED: &str = "TASK_MCP_TEST_MOUNTED_ROOT";

/// An editor that saves a spec while an archive is under way: the day is asked for between reading and writing.
struct Editor(std::path::PathBuf);

impl Clock for Editor {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn today(&self) -> Date {
        fs::create_dir_all(self.0.parent().unwrap()).unwrap();
        fs::write(&self.0, "by hand\n").unwrap();
        DAY.parse().unwrap()
    }
}

fn command(world: &World, name: &str, clock: &dyn Clock) -> cli::CliOutput {
    cli::run(&["archive", name, "-y", "--json"].map(str::to_owned), world.root(), clock)
}

#[tokio::test]
async fn a_spec_that_changes_during_the_merge_is_not_overwritten() {
    for before in [
        None,
        Some(
            "# accounts\n\n## Purpose\nLong enough a purpose for the checks, it is hoped, and then some.\n\n## Requirements\n",
        ),
    ] {
        let world = World::new();
        world.add_ready("lock-it");
        if let Some(before) = before {
            world.write(SPEC, before);
        }
        let editor = Editor(world.path(SPEC));
        let said = command(&world, "lock-it", &editor);
        assert!(said.exit_code == 1 && said.stdout.contains("archive_spec_update_failed"), "{said:?}");
        assert!(said.stdout.contains("changed while it was merged"), "{said:?}");
        assert_eq!(world.read(SPEC), "by hand\n");
        match before {
            Some(before) => world.write(SPEC, before),
            None => fs::remove_file(world.path(SPEC)).unwrap(),
        }
        let options = StoreOptions { document_bytes: 1 << 20, changes: 10 };
        let (epochs, offload) = (world.epochs.clone(), world.offload.clone());
        let store = FilesStore::with_clock(world.root(), options, epochs, offload, Arc::new(editor)).unwrap();
        let error = store.archive(archiving("lock-it", "ana")).await.unwrap_err();
        assert_eq!((error.code(), error.details().unwrap()["path"].as_str()), ("EBUSY", Some(SPEC)), "{error}");
        assert_eq!(world.read(SPEC), "by hand\n");
        assert!(world.path("openspec/changes/lock-it").exists());
        for gone in [CLAIM, "openspec/changes/lock-it/receipt.json", "openspec/.task-mcp/journal/archive.json"] {
            assert!(!world.path(gone).exists(), "{gone}");
        }
    }
}

#[test]
fn tool_and_command_at_the_same_time_lose_no_requirement() {
    for _ in 0..10 {
        let world = World::new();
        let names: Vec<String> = (0..4).map(|i| format!("change-{i}")).collect();
        names.iter().for_each(|name| world.add_ready(name));
        thread::scope(|scope| {
            for (i, name) in names.iter().enumerate() {
                let world = &world;
                scope.spawn(move || match i % 2 {
                    0 => assert_eq!(command(world, name, &SystemClock).exit_code, 0, "{name}"),
                    _ => {
                        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                        runtime.block_on(world.another().archive(archiving(name, "ana"))).unwrap();
                    }
                });
            }
        });
        let spec = world.read(SPEC);
        assert!(names.iter().all(|name| spec.contains(&format!("Lock {name}"))), "{spec}");
    }
}

#[tokio::test]
async fn a_stuck_writer_keeps_nobody_from_reading_and_writers_not_for_long() {
    let world = World::new();
    world.add_ready("lock-it");
    let dir = fs::File::open(world.path("openspec")).unwrap();
    let held = Flock::lock(dir, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let began = Instant::now();
    assert_eq!(world.store.show(&slug("lock-it")).await.unwrap().title, "lock-it title");
    assert_eq!(world.another().active(ActiveQuery::default()).await.unwrap().total, 1);
    assert!(began.elapsed() < Duration::from_secs(1));
    let error = world.store.open(opening("add-login", "ana")).await.unwrap_err();
    assert!(error.code() == "EBUSY" && error.to_string().contains("openspec/"), "{error}");
    let said = command(&world, "lock-it", &SystemClock);
    assert!(said.exit_code == 1 && said.stdout.contains("Another writer holds"), "{said:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(!world.path(SPEC).exists() && !world.path("openspec/.task-mcp").exists());
    drop(held);
    assert!(world.store.open(opening("add-login", "ana")).await.unwrap().created);
}

#[tokio::test]
async fn a_lock_file_no_tool_writes_holds_nobody_up() {
    let now = Timestamp::now().as_millisecond();
    for (since, ttl) in [(now, u64::MAX), (now, 86_401), (now + 3_600_000, 60)] {
        let world = World::new();
        world.add_ready("add-login");
        world.write(LOCK, &format!(r#"{{"owner":"eve","since":{since},"ttl":{ttl}}}"#));
        assert!(world.store.show(&slug("add-login")).await.unwrap().lock.is_none(), "{since} {ttl}");
        world.store.open(opening("add-login", "ana")).await.unwrap();
    }
    let world = World::new();
    world.add_ready("add-login");
    fs::create_dir_all(world.path(LOCK).join("x")).unwrap();
    assert!(world.store.open(opening("add-login", "ana")).await.unwrap().locked);
    assert_eq!(world.store.open(opening("add-login", "bob")).await.unwrap_err().code(), "ELOCKED");
}

#[tokio::test]
async fn the_lock_of_a_change_that_is_not_there_holds_nobody_up() {
    let world = World::new();
    let now = Timestamp::now().as_millisecond();
    world.write(LOCK, &format!(r#"{{"owner":"eve","since":{now},"ttl":3600}}"#));
    assert!(world.store.open(opening("add-login", "ana")).await.unwrap().created);
    assert_eq!(world.store.open(opening("add-login", "eve")).await.unwrap_err().code(), "ELOCKED");
}

#[tokio::test]
async fn a_receipt_that_cannot_be_read_is_made_up() {
    for what in ["bytes", "pipe", "large"] {
        let world = World::with_limits(4096, 10);
        let folder = world.path("openspec/changes/archive/2026-01-01-lock-it");
        fs::create_dir_all(&folder).unwrap();
        let receipt = folder.join("receipt.json");
        match what {
            "bytes" => fs::write(&receipt, b"\xff").unwrap(),
            "pipe" => nix::unistd::mkfifo(&receipt, nix::sys::stat::Mode::S_IRUSR).unwrap(),
            _ => fs::write(&receipt, vec![b' '; 5000]).unwrap(),
        }
        let answer = world.store.archive(archiving("lock-it", "ana")).await.unwrap();
        assert!(answer.already_archived && answer.receipt.slug == "lock-it", "{what}");
    }
}

#[tokio::test]
async fn a_dated_slug_is_no_archive_of_the_rest_of_its_name() {
    let world = World::new();
    world.add_ready("2026-01-01-foo");
    world.store.archive(archiving("2026-01-01-foo", "ana")).await.unwrap();
    assert!(world.store.archive(archiving("2026-01-01-foo", "ana")).await.unwrap().already_archived);
    assert_eq!(world.store.archive(archiving("foo", "ana")).await.unwrap_err().code(), "ENOCHANGE");
    assert!(world.store.open(opening("foo", "ana")).await.unwrap().created);
}

#[tokio::test]
async fn an_archive_lock_left_behind_is_named_with_the_remedy() {
    for claim in ["", "{}", r#"{"pid":1,"nonce":"x"}"#] {
        let world = World::new();
        world.add_ready("lock-it");
        world.write(CLAIM, claim);
        let error = world.store.archive(archiving("lock-it", "ana")).await.unwrap_err();
        assert!(error.code() == "EBUSY" && error.to_string().contains(CLAIM), "{error}");
        assert!(error.hint().unwrap().contains(&format!("delete {CLAIM}")));
        assert_eq!(error.details().unwrap()["path"], CLAIM);
    }
}

#[tokio::test]
async fn a_time_in_the_future_makes_no_archive_lock_immortal() {
    let world = World::new();
    world.add_ready("lock-it");
    world.write(CLAIM, r#"{"pid":4194301,"nonce":"x"}"#);
    let later = SystemTime::now() + Duration::from_secs(1 << 30);
    fs::File::open(world.path(CLAIM)).unwrap().set_times(fs::FileTimes::new().set_modified(later)).unwrap();
    assert!(world.store.archive(archiving("lock-it", "ana")).await.unwrap().archived);
}

#[tokio::test]
async fn a_link_too_deep_to_be_seen_is_not_archived() {
    let world = World::new();
    world.add_ready("lock-it");
    let deep = world.path("openspec/changes/lock-it").join("d/".repeat(40));
    fs::create_dir_all(&deep).unwrap();
    symlink("/etc", deep.join("link")).unwrap();
    let error = world.store.archive(archiving("lock-it", "ana")).await.unwrap_err();
    assert_eq!(error.details().unwrap()["code"], "folders_too_deep", "{error}");
    assert!(world.path("openspec/changes/lock-it").exists() && !world.path(SPEC).exists());
}

#[test]
#[ignore = "runs where changes/ is a mount: the test below starts it"]
fn in_a_mount() {
    let Ok(root) = std::env::var(MOUNTED) else { return };
    let changes = std::path::Path::new(&root).join("openspec/changes");
    let options = StoreOptions { document_bytes: 1 << 20, changes: 10 };
    let world = World::new();
    let open = || FilesStore::open(root.as_ref(), options, world.epochs.clone(), world.offload.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    fs::create_dir_all(changes.join(".task-mcp-dead.tmp/x")).unwrap();
    assert!(runtime.block_on(open().open(opening("add-login", "ana"))).unwrap().created);
    let names: Vec<_> = fs::read_dir(&changes).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["add-login"], "what was left is swept");
    assert_eq!(runtime.block_on(open().active(ActiveQuery::default())).unwrap().total, 1);
}

#[test]
fn changes_may_be_a_mount_of_its_own() {
    let namespaces = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script]).stdout(Stdio::null());
        command
    };
    let world = World::new();
    let mount = "mount -t tmpfs none \"$TASK_MCP_TEST_MOUNTED_ROOT/openspec/changes\"";
    // Without user namespaces there is nothing to mount with.
    if !namespaces(mount).env(MOUNTED, world.root()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    {
        eprintln!("SKIPPED: changes_may_be_a_mount_of_its_own, because this host allows no user namespaces");
        return;
    }
    let run = format!("{mount} && exec \"$0\" guarded::in_a_mount --exact --ignored");
    let status = namespaces(&run).arg(std::env::current_exe().unwrap()).env(MOUNTED, world.root()).status().unwrap();
    assert!(status.success());
}

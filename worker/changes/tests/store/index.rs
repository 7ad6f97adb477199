//! The list from memory: when it is fresh, when it is read anew, and who waits for whom.

use std::fs::{self, File, FileTimes};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use task_mcp_changes::{ActiveQuery, EpochSource, FilesStore, Offload, OffloadFull, Store, StoreOptions};

use crate::world::{World, opening};

async fn titles(store: &FilesStore) -> Vec<String> {
    let page = store.active(ActiveQuery::default()).await.unwrap();
    page.items.iter().map(|item| item.title.clone()).collect()
}

#[tokio::test]
async fn a_fresh_list_is_answered_without_the_pool_or_the_disk() {
    let world = World::new();
    world.add_ready("lock-it");
    assert_eq!(titles(&world.store).await, ["lock-it title"]);
    let jobs = world.offload.0.load(Ordering::SeqCst);
    fs::rename(world.path("openspec"), world.path("gone")).unwrap();
    assert_eq!(titles(&world.store).await, ["lock-it title"]);
    assert_eq!(world.offload.0.load(Ordering::SeqCst), jobs);
}

#[tokio::test]
async fn an_edit_shows_when_the_epoch_moves() {
    let world = World::new();
    world.add_ready("lock-it");
    titles(&world.store).await;
    world.write("openspec/changes/lock-it/proposal.md", "# Change: other title\n");
    assert_eq!(titles(&world.store).await, ["lock-it title"], "nobody said so yet");
    world.epochs.bump();
    assert_eq!(titles(&world.store).await, ["other title"]);
}

#[tokio::test]
async fn a_settled_file_is_not_read_again_and_a_racy_one_is() {
    let world = World::new();
    world.add_ready("lock-it");
    let path = world.path("openspec/changes/lock-it/proposal.md");
    let old = SystemTime::now() - Duration::from_secs(3600);
    let freeze = || File::open(&path).unwrap().set_times(FileTimes::new().set_modified(old)).unwrap();
    freeze();
    titles(&world.store).await;
    // Within two seconds of the change (ctime) the same times prove nothing: the same size and times, other bytes.
    fs::write(&path, "# Change: LOCK-IT TITLE\n").unwrap();
    freeze();
    world.epochs.bump();
    assert_eq!(titles(&world.store).await, ["LOCK-IT TITLE"]);
    // Later the entry counts as clean, and an unreadable file proves that it is not opened.
    world.clock.advance_s(10);
    world.epochs.bump();
    titles(&world.store).await;
    let first = world.store.active(ActiveQuery::default()).await.unwrap().items[0].clone();
    world.epochs.bump();
    let second = world.store.active(ActiveQuery::default()).await.unwrap().items[0].clone();
    assert!(Arc::ptr_eq(&first, &second), "the entry was taken over as it was");
}

#[tokio::test]
async fn newest_first_and_ties_by_slug() {
    let world = World::new();
    for (slug, age_s) in [("bbb", 10), ("aaa", 10), ("zzz", 5), ("ccc", 20)] {
        world.write(&format!("openspec/changes/{slug}/tasks.md"), "");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - age_s);
        let file = File::open(world.path(&format!("openspec/changes/{slug}/tasks.md"))).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }
    world.write("openspec/changes/.hidden/tasks.md", "");
    world.write("openspec/changes/archive/2025-01-01-old/tasks.md", "");
    assert_eq!(titles(&world.store).await, ["zzz", "aaa", "bbb", "ccc"]);
}

#[tokio::test]
async fn too_many_changes_are_an_error_that_names_the_setting() {
    let world = World::with_limits(1 << 20, 2);
    for slug in ["one-a", "two-b", "three-c"] {
        world.add_ready(slug);
    }
    let error = world.store.active(ActiveQuery::default()).await.unwrap_err();
    assert_eq!(error.code(), "ETOOMANY");
    assert!(error.hint().unwrap().contains("store.changes"));
}

/// Holds every job back until told.
#[derive(Default)]
struct Held(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

impl Offload for Held {
    fn submit(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), OffloadFull> {
        self.0.lock().unwrap().push(job);
        Ok(())
    }
}

#[tokio::test]
async fn callers_share_a_scan_but_not_one_begun_before_a_write_they_saw() {
    let world = World::new();
    world.add_ready("lock-it");
    let held = Arc::new(Held::default());
    let options = StoreOptions { document_bytes: 1 << 20, changes: 10 };
    let store = FilesStore::open(world.root(), options, world.epochs.clone(), held.clone()).unwrap();
    let run = || async {
        tokio::task::yield_now().await;
        for job in std::mem::take(&mut *held.0.lock().unwrap()) {
            job();
        }
    };
    let jobs = || held.0.lock().unwrap().len();
    let (first, second, ()) = tokio::join!(titles(&store), titles(&store), async {
        tokio::task::yield_now().await;
        assert_eq!(jobs(), 1, "one scan for two callers");
        run().await;
    });
    assert_eq!(first, second);
    world.epochs.bump();
    let ((), (), ()) = tokio::join!(
        async { drop(titles(&store).await) },
        async {
            tokio::task::yield_now().await;
            world.epochs.bump();
            drop(titles(&store).await);
        },
        async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            assert_eq!(jobs(), 2, "the later caller does not trust the earlier scan");
            run().await;
        }
    );
}

#[tokio::test]
async fn a_full_pool_and_a_lost_job_are_errors() {
    struct Full;
    impl Offload for Full {
        fn submit(&self, _: Box<dyn FnOnce() + Send>) -> Result<(), OffloadFull> {
            Err(OffloadFull)
        }
    }
    struct Drops;
    impl Offload for Drops {
        fn submit(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), OffloadFull> {
            drop(job);
            Ok(())
        }
    }
    let world = World::new();
    let options = StoreOptions { document_bytes: 1 << 20, changes: 10 };
    let full = FilesStore::open(world.root(), options, world.epochs.clone(), Arc::new(Full)).unwrap();
    assert_eq!(full.active(ActiveQuery::default()).await.unwrap_err().code(), "EBUSY");
    assert_eq!(full.open(opening("add-login", "ana")).await.unwrap_err().code(), "EBUSY");
    let drops = FilesStore::open(world.root(), options, world.epochs.clone(), Arc::new(Drops)).unwrap();
    assert_eq!(drops.active(ActiveQuery::default()).await.unwrap_err().code(), "EINTERNAL");
}

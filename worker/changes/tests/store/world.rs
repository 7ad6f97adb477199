//! A tree in a temporary folder with a store over it, a clock that stands still and an epoch in memory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use jiff::Timestamp;
use jiff::civil::Date;
use task_mcp_changes::{
    ArchiveRequest, Clock, EpochSource, FilesStore, Offload, OffloadFull, OpenRequest, OpenTasks, Slug, StoreOptions,
    Template,
};

pub const DAY: &str = "2026-03-04";

pub const DELTA: &str = "## ADDED Requirements\n\n### Requirement: Lock\nThe system SHALL lock.\n\n#### Scenario: Five\n\
                         - **WHEN** five failures\n- **THEN** it is locked\n";

#[derive(Default)]
pub struct MemoryEpoch(AtomicU64);

impl EpochSource for MemoryEpoch {
    fn current(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn bump(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs each job at once and counts them.
#[derive(Default)]
pub struct Inline(pub AtomicUsize);

impl Offload for Inline {
    fn submit(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), OffloadFull> {
        self.0.fetch_add(1, Ordering::SeqCst);
        job();
        Ok(())
    }
}

/// Starts at the given second and moves only when told.
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn advance_s(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    fn today(&self) -> Date {
        DAY.parse().unwrap()
    }
}

pub struct World {
    dir: tempfile::TempDir,
    pub epochs: Arc<MemoryEpoch>,
    pub offload: Arc<Inline>,
    pub clock: Arc<ManualClock>,
    pub store: FilesStore,
}

impl World {
    pub fn new() -> Self {
        Self::with_limits(1 << 20, 1000)
    }

    pub fn with_limits(document_bytes: u64, changes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("openspec/changes")).unwrap();
        let epochs = Arc::new(MemoryEpoch::default());
        let offload = Arc::new(Inline::default());
        // The clock agrees with the file system's, so that ages of files mean something.
        let clock = Arc::new(ManualClock(AtomicI64::new(Timestamp::now().as_second())));
        let options = StoreOptions { document_bytes, changes };
        let store = open(dir.path(), options, &epochs, offload.clone(), &clock);
        Self { dir, epochs, offload, clock, store }
    }

    /// Another store over the same tree, as another process has it.
    pub fn another(&self) -> FilesStore {
        let options = StoreOptions { document_bytes: 1 << 20, changes: 1000 };
        open(self.dir.path(), options, &self.epochs, self.offload.clone(), &self.clock)
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    pub fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap()
    }

    /// A change that can be archived.
    pub fn add_ready(&self, slug: &str) {
        self.write(&format!("openspec/changes/{slug}/proposal.md"), &format!("# Change: {slug} title\n"));
        self.write(&format!("openspec/changes/{slug}/tasks.md"), "- [x] 1.1 Done\n");
        self.write(
            &format!("openspec/changes/{slug}/specs/accounts/spec.md"),
            &DELTA.replace("Lock", &format!("Lock {slug}")),
        );
    }
}

fn open(
    root: &Path,
    options: StoreOptions,
    epochs: &Arc<MemoryEpoch>,
    offload: Arc<Inline>,
    clock: &Arc<ManualClock>,
) -> FilesStore {
    let (epochs, clock): (Arc<MemoryEpoch>, Arc<ManualClock>) = (Arc::clone(epochs), Arc::clone(clock));
    FilesStore::with_clock(root, options, epochs, offload, clock).unwrap()
}

pub fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

pub fn opening(text: &str, principal: &str) -> OpenRequest {
    OpenRequest {
        slug: slug(text),
        title: format!("Title of {text}"),
        rationale: None,
        owner: None,
        ttl: None,
        template: Template::Feature,
        principal: principal.to_owned(),
    }
}

pub fn archiving(text: &str, principal: &str) -> ArchiveRequest {
    ArchiveRequest { slug: slug(text), open_tasks: OpenTasks::Allow, principal: principal.to_owned() }
}

/// The journal of an archive of `slug` in this tree: files with their text before and after.
pub fn journal_of(world: &World, slug: &str, files: &[(&str, Option<&str>, Option<&str>)]) -> serde_json::Value {
    let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
    let entry = |(path, before, after): &(&str, Option<&str>, Option<&str>)| serde_json::json!({ "path": path, "before": before, "after": after.map(hash) });
    serde_json::json!({
        "format": 2,
        "root": fs::canonicalize(world.root()).unwrap().to_string_lossy(),
        "inode": fs::metadata(world.path("openspec")).unwrap().ino(),
        "nonce": "the-nonce",
        "slug": slug,
        "archived_as": format!("{DAY}-{slug}"),
        "files": files.iter().map(entry).collect::<Vec<_>>(),
    })
}

//! What the threads of a process share: the open file, and the way to the next one.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use task_mcp_scoreboard::{Commons, Epochs, Leases, monotonic_ms};
use task_mcp_telemetry::{CacheFault, CacheMetrics};

use super::data_file::DataFile;
use super::directory::Directory;
use super::standing::{Standing, Trouble};
use crate::tier::Stamps;

/// Faults of one file, without one success between them, after which all processes go on with another.
const MAX_FAULTS: u32 = 8;
/// Generations after which nothing is tried any more: it is not the files that are broken.
const MAX_GENERATIONS: u64 = 64;
const RETRY_MS: u64 = 5_000;
/// How often a process that stores looks whether the file still has its name.
const LOOK_MS: u64 = 5_000;
/// No generation.
const NONE: u64 = u64::MAX;

/// What the threads of a process share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) commons: Commons,
    pub(super) epochs: Epochs,
    pub(super) leases: Leases,
    pub(super) incarnation: u64,
    pub(super) metrics: CacheMetrics,
    pub(super) standing: Standing,
    pub(super) directory: Directory,
    /// Size of one value.
    pub(super) entry_bytes: u64,
    pub(super) compress_bytes: u64,
    max_bytes: u64,
    file: ArcSwapOption<DataFile>,
    opening: AtomicBool,
    /// When it is tried again to open a file that could not be, in milliseconds of CLOCK_MONOTONIC.
    retry_ms: AtomicU64,
    /// When it is looked again whether the file still has its name.
    look_ms: AtomicU64,
    /// The generation after which nothing is tried any more.
    given_up: AtomicU64,
    /// Apart, for each can go on while the other fails.
    read_faults: AtomicU32,
    write_faults: AtomicU32,
}

impl Shared {
    pub(super) fn new(settings: &task_mcp_config::Settings, commons: &Commons, metrics: CacheMetrics) -> Self {
        let incarnation = commons.incarnation();
        Self {
            commons: commons.clone(),
            epochs: commons.epochs(),
            leases: commons.leases(),
            incarnation,
            standing: Standing::new(metrics.clone()),
            metrics,
            directory: Directory::new(&settings.supervisor.runtime_dir, incarnation, settings.cache.max_bytes),
            // Whatever an operator allows: an entry needs pages in a row, and others are to have a place too.
            entry_bytes: settings.cache.entry_bytes.min(settings.cache.max_bytes / 4),
            compress_bytes: settings.cache.compress_bytes,
            max_bytes: settings.cache.max_bytes,
            file: ArcSwapOption::empty(),
            opening: AtomicBool::new(false),
            retry_ms: AtomicU64::new(monotonic_ms().saturating_add(RETRY_MS)),
            look_ms: AtomicU64::new(0),
            given_up: AtomicU64::new(NONE),
            read_faults: AtomicU32::new(0),
            write_faults: AtomicU32::new(0),
        }
    }

    /// Size of the file at most.
    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// The file in force, if this process has it open. If it has not, it is opened meanwhile.
    pub(super) fn file(self: &Arc<Self>) -> Option<Guard<Option<Arc<DataFile>>>> {
        let file = self.file.load();
        match &*file {
            Some(open) if open.generation == self.commons.cache_generation() => Some(file),
            Some(_) => {
                self.open_soon();
                None
            }
            None => {
                // What could not be opened is tried again, but not by every call.
                let (now_ms, due_ms) = (monotonic_ms(), self.retry_ms.load(Ordering::Relaxed));
                let next_ms = now_ms.saturating_add(RETRY_MS);
                if now_ms >= due_ms
                    && self.retry_ms.compare_exchange(due_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                {
                    self.open_soon();
                }
                None
            }
        }
    }

    /// What the epochs of these tags are now.
    pub(super) fn stamps(&self, tags: &[crate::Tag]) -> Stamps {
        Stamps::of(self.incarnation, tags, |cell| self.epochs.of_cell(cell))
    }

    /// Opens the file in force on a thread of its own, if it is not open, and waits for it no longer than `patience`: whoever was
    /// stopped while it held LMDB's locks would keep everybody else waiting.
    pub(super) fn open_within(self: &Arc<Self>, patience: Duration) {
        if let Some(done) = self.open_soon() {
            let _ = done.recv_timeout(patience);
        }
    }

    fn open_soon(self: &Arc<Self>) -> Option<mpsc::Receiver<()>> {
        if self.opening.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (done, wait) = mpsc::sync_channel(1);
        let shared = Arc::clone(self);
        let open = move || {
            shared.open_now();
            shared.opening.store(false, Ordering::Release);
            let _ = done.try_send(());
        };
        match std::thread::Builder::new().name("cache-open".to_owned()).spawn(open) {
            Ok(_) => Some(wait),
            Err(error) => {
                self.opening.store(false, Ordering::Release);
                self.standing.fell(Trouble::NoFile(error.to_string()));
                None
            }
        }
    }

    fn open_now(&self) {
        loop {
            let generation = self.commons.cache_generation();
            if self.file.load().as_ref().is_some_and(|file| file.generation == generation)
                || self.given_up.load(Ordering::Relaxed) == generation
            {
                return;
            }
            // Closed first, as far as nobody reads from it at this moment.
            self.file.store(None);
            let path = match self.directory.file(generation) {
                Ok(path) => path,
                Err(reason) => return self.standing.fell(Trouble::NoFile(reason)),
            };
            match DataFile::open(&path, self.max_bytes, generation) {
                Ok(file) => {
                    self.read_faults.store(0, Ordering::Relaxed);
                    self.write_faults.store(0, Ordering::Relaxed);
                    self.file.store(Some(Arc::new(file)));
                    self.standing.opened();
                }
                Err(error) if fault_of(&error) == CacheFault::Corrupt => self.leave(generation, &error),
                Err(error) => {
                    let reason = format!("{} cannot be opened: {error}", path.display());
                    return self.standing.fell(Trouble::NoFile(reason));
                }
            }
        }
    }

    /// All processes go on with another file than that of `generation`, or with none if there were too many.
    fn leave(&self, generation: u64, error: &dyn std::fmt::Display) {
        if generation >= MAX_GENERATIONS {
            self.given_up.store(generation, Ordering::Relaxed);
            self.file.store(None);
            let reason = format!(
                "{MAX_GENERATIONS} files were broken one after the other, the last by: {error}; look at the memory and the disk of \
                 this machine. Nothing is tried any more until the instance is restarted"
            );
            self.standing.fell(Trouble::NoFile(reason));
        } else if self.commons.leave_cache_generation(generation) {
            tracing::warn!(generation, %error, "The file of the embedded cache is broken; all processes go on with a new one.");
        }
    }

    /// Looks, every so often, whether the file still has its name.
    pub(super) fn look_at_name_now_and_then(&self, file: &DataFile) {
        let now_ms = monotonic_ms();
        if now_ms >= self.look_ms.load(Ordering::Relaxed) {
            self.look_ms.store(now_ms.saturating_add(LOOK_MS), Ordering::Relaxed);
            self.look_at_name(file);
        }
    }

    /// All processes go on with another file if somebody has removed or replaced this one: those that start now would open another
    /// under its name, and share nothing with those that have this one open.
    pub(super) fn look_at_name(&self, file: &DataFile) {
        match file.has_its_name() {
            Ok(true) => {}
            Ok(false) => {
                if self.commons.leave_cache_generation(file.generation) {
                    tracing::warn!(
                        generation = file.generation,
                        "The file of the embedded cache was removed or replaced; all processes go on with a new one."
                    );
                }
            }
            Err(error) => tracing::debug!(%error, "The file of the embedded cache cannot be looked up."),
        }
    }

    /// What an error of a read amounts to. Whatever it is, it counts towards leaving the file: a sound one has none.
    pub(super) fn judge(&self, file: &DataFile, error: &heed::Error) -> CacheFault {
        self.count_fault(file, error);
        fault_of(error)
    }

    /// What an error of a write amounts to. But for the lack of room it counts towards leaving the file.
    pub(super) fn judge_write(&self, file: &DataFile, error: &heed::Error) -> CacheFault {
        let fault = fault_of(error);
        if fault != CacheFault::Full {
            self.count(&self.write_faults, file, error);
        }
        fault
    }

    /// Bytes were not those that were stored, or could not be read.
    pub(super) fn count_fault(&self, file: &DataFile, error: &dyn std::fmt::Display) {
        self.count(&self.read_faults, file, error);
    }

    /// Bytes were those that were stored.
    pub(super) fn count_success(&self) {
        forgive(&self.read_faults);
    }

    /// Something was written.
    pub(super) fn count_write(&self) {
        forgive(&self.write_faults);
    }

    fn count(&self, faults: &AtomicU32, file: &DataFile, error: &dyn std::fmt::Display) {
        if faults.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_FAULTS {
            faults.store(0, Ordering::Relaxed);
            self.leave(file.generation, error);
        }
    }
}

fn forgive(faults: &AtomicU32) {
    if faults.load(Ordering::Relaxed) != 0 {
        faults.store(0, Ordering::Relaxed);
    }
}

fn fault_of(error: &heed::Error) -> CacheFault {
    use heed::{Error, MdbError};
    match error {
        Error::Mdb(MdbError::MapFull) => CacheFault::Full,
        Error::Mdb(
            MdbError::Corrupted
            | MdbError::PageNotFound
            | MdbError::Panic
            | MdbError::Invalid
            | MdbError::VersionMismatch
            | MdbError::Incompatible,
        ) => CacheFault::Corrupt,
        Error::Io(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge
            ) =>
        {
            CacheFault::Full
        }
        _ => CacheFault::Unavailable,
    }
}

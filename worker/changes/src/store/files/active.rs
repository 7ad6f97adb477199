//! The index of active changes: answered from memory while the epoch stands, scanned anew when it moved.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::index::{Snapshot, scan};
use super::pages::Wanted;
use super::{Core, FilesStore};
use crate::error::ChangesError;
use crate::store::{ActivePage, ActiveQuery};

type Outcome = Result<Arc<Snapshot>, Arc<ChangesError>>;

/// The snapshot in force and the scan under way.
#[derive(Default)]
pub(super) struct Index {
    snapshot: ArcSwapOption<Snapshot>,
    /// A plain mutex: held while a job is queued, never across a wait. Jobs do not take it.
    flight: Mutex<Flight>,
    /// Number of the scan the snapshot is from, so that a slow old scan never replaces a newer one's.
    stored: Mutex<u64>,
    complained: AtomicBool,
}

/// The newest scan of this process. One at a time for each epoch: who wants the same epoch waits for it; who has seen a
/// newer one starts another, since the older scan may have missed the write.
#[derive(Default)]
struct Flight {
    sequence: u64,
    current: Option<(u64, watch::Receiver<Option<Outcome>>)>,
}

impl FilesStore {
    pub(super) async fn active_page(&self, query: ActiveQuery) -> Result<ActivePage, ChangesError> {
        let wanted = Wanted::parse(query)?;
        let now_ms = self.core.clock.now().as_millisecond();
        wanted.page(&*self.snapshot().await?, now_ms)
    }

    /// A snapshot that knows of every write until now.
    pub(super) async fn snapshot(&self) -> Result<Arc<Snapshot>, ChangesError> {
        let epoch = self.core.epochs.current();
        if let Some(snapshot) = self.core.index.snapshot.load_full().filter(|snapshot| snapshot.epoch == epoch) {
            return Ok(snapshot);
        }
        self.scanned(epoch).await.map_err(ChangesError::Shared)
    }

    /// The snapshot of a scan that began at or after `epoch`.
    async fn scanned(&self, epoch: u64) -> Outcome {
        let mut waiting = self.join_or_start(epoch).map_err(Arc::new)?;
        match waiting.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(Arc::new(ChangesError::Lost))),
            // The scan panicked; the pool has logged it.
            Err(_) => Err(Arc::new(ChangesError::Lost)),
        }
    }

    fn join_or_start(&self, epoch: u64) -> Result<watch::Receiver<Option<Outcome>>, ChangesError> {
        let mut flight = self.core.index.flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((seen, waiting)) = &flight.current {
            let useful = match &*waiting.borrow() {
                Some(outcome) => outcome.is_ok(),
                // An error means that the scan is gone without an answer.
                None => waiting.has_changed().is_ok(),
            };
            if *seen == epoch && useful {
                return Ok(waiting.clone());
            }
        }
        // The epoch is read before the scan: what changes during it moves the epoch on and makes this snapshot stale.
        let epoch = self.core.epochs.current();
        let (done, waiting) = watch::channel(None);
        flight.sequence += 1;
        let sequence = flight.sequence;
        let core = Arc::clone(&self.core);
        let job = move || {
            let outcome = core.rescan(epoch, sequence).map_err(Arc::new);
            let _ = done.send(Some(outcome));
        };
        self.offload.submit(Box::new(job)).map_err(|_| ChangesError::Overloaded)?;
        flight.current = Some((epoch, waiting.clone()));
        Ok(waiting)
    }
}

impl Core {
    fn rescan(&self, epoch: u64, sequence: u64) -> Result<Arc<Snapshot>, ChangesError> {
        let previous = self.index.snapshot.load_full();
        let snapshot = scan(self, epoch, previous.as_deref()).inspect_err(|error| {
            if matches!(error, ChangesError::TooMany { .. }) && !self.index.complained.swap(true, Ordering::Relaxed) {
                tracing::error!(%error, "The tree has more active changes than store.changes allows; lists are refused.");
            }
        })?;
        let snapshot = Arc::new(snapshot);
        let mut stored = self.index.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if sequence > *stored {
            *stored = sequence;
            self.index.snapshot.store(Some(Arc::clone(&snapshot)));
        }
        Ok(snapshot)
    }
}

//! How the tier stands, and one line in the log for each change of that.

use std::mem::discriminant;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use task_mcp_telemetry::CacheMetrics;

use crate::operations::Health;

/// How long nothing must have gone wrong before all is well again.
const QUIET: Duration = Duration::from_secs(1);

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is no file to read or write: nothing is kept.
    NoFile(String),
    /// Entries are read, but none can be stored.
    NoStore(String),
}

/// How the tier stands for this process.
#[derive(Debug)]
pub(super) struct Standing {
    trouble: Mutex<Option<(Trouble, Instant)>>,
    metrics: CacheMetrics,
}

impl Standing {
    pub(super) fn new(metrics: CacheMetrics) -> Self {
        Self { trouble: Mutex::default(), metrics }
    }

    /// Something is wrong.
    pub(super) fn fell(&self, now: Trouble) {
        let mut trouble = self.lock();
        // The same kind of trouble is no transition, whatever its reason says now.
        let same = trouble.as_ref().is_some_and(|(before, _)| discriminant(before) == discriminant(&now));
        if !same {
            match &now {
                Trouble::NoFile(reason) => {
                    tracing::warn!(reason, "The embedded cache cannot be used; results are computed for every call.");
                }
                Trouble::NoStore(reason) => {
                    tracing::warn!(reason, "The embedded cache stores nothing more; what it holds is still answered.");
                }
            }
            self.metrics.degraded.set(1);
        }
        *trouble = Some((now, Instant::now()));
    }

    /// Something was stored. One success between failures is no transition.
    pub(super) fn stored(&self) {
        let mut trouble = self.lock();
        if trouble.as_ref().is_some_and(|(_, since)| since.elapsed() >= QUIET) {
            self.recover(&mut trouble);
        }
    }

    /// There is a file, whether or not anything can be stored.
    pub(super) fn opened(&self) {
        let mut trouble = self.lock();
        if matches!(*trouble, Some((Trouble::NoFile(_), _))) {
            self.recover(&mut trouble);
        }
    }

    fn recover(&self, trouble: &mut Option<(Trouble, Instant)>) {
        *trouble = None;
        tracing::info!("The embedded cache stores and answers again.");
        self.metrics.degraded.set(0);
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Trouble, Instant)>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn health(&self) -> Health {
        let (in_force, reason) = match &*self.lock() {
            None => ("embedded", None),
            Some((Trouble::NoStore(reason), _)) => ("embedded", Some(reason.clone())),
            Some((Trouble::NoFile(reason), _)) => ("none", Some(reason.clone())),
        };
        Health { configured: "embedded", in_force, reason }
    }
}

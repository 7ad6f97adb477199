//! How the tier stands, and one line in the log for each change of that.

use std::sync::{Mutex, PoisonError};

use task_mcp_telemetry::CacheMetrics;

use crate::operations::Health;

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
    trouble: Mutex<Option<Trouble>>,
    metrics: CacheMetrics,
}

impl Standing {
    pub(super) fn new(metrics: CacheMetrics) -> Self {
        Self { trouble: Mutex::default(), metrics }
    }

    /// Something is wrong.
    pub(super) fn fell(&self, now: Trouble) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        // The same kind of trouble is no transition, whatever its reason says now.
        let same =
            trouble.as_ref().is_some_and(|before| std::mem::discriminant(before) == std::mem::discriminant(&now));
        if !same {
            match &now {
                Trouble::NoFile(reason) => {
                    tracing::warn!(reason, "The embedded cache cannot be used; results are computed for every call.");
                }
                Trouble::NoStore(reason) => {
                    tracing::warn!(reason, "The embedded cache stores nothing more; what it holds is still answered.");
                }
            }
            *trouble = Some(now);
            self.metrics.degraded.set(1);
        }
    }

    /// Nothing is wrong any more.
    pub(super) fn recovered(&self) {
        let before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        if before.is_some() {
            tracing::info!("The embedded cache stores and answers again.");
            self.metrics.degraded.set(0);
        }
    }

    /// The file can be read, whether or not anything can be stored.
    pub(super) fn opened(&self) {
        let no_file = matches!(*self.trouble.lock().unwrap_or_else(PoisonError::into_inner), Some(Trouble::NoFile(_)));
        if no_file {
            self.recovered();
        }
    }

    pub(super) fn health(&self) -> Health {
        let (in_force, reason) = match &*self.trouble.lock().unwrap_or_else(PoisonError::into_inner) {
            None => ("embedded", None),
            Some(Trouble::NoStore(reason)) => ("embedded", Some(reason.clone())),
            Some(Trouble::NoFile(reason)) => ("none", Some(reason.clone())),
        };
        Health { configured: "embedded", in_force, reason }
    }
}

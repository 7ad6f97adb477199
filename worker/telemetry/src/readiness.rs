//! Readiness as ownership: who must finish before the process is ready holds a latch and drops it when done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Whether a process may be sent requests. Cloning is cheap and shares the answer.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    latches: AtomicUsize,
    draining: AtomicBool,
}

/// Held by what is not done yet.
#[derive(Debug)]
pub struct Latch {
    inner: Arc<Inner>,
}

impl Readiness {
    /// A latch that keeps the process from being ready until it is dropped.
    pub fn latch(&self) -> Latch {
        self.inner.latches.fetch_add(1, Ordering::AcqRel);
        Latch { inner: Arc::clone(&self.inner) }
    }

    /// Says that the process takes leave; there is no way back.
    pub fn drain(&self) {
        self.inner.draining.store(true, Ordering::Release);
    }

    /// Whether the process takes leave.
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// Whether all latches are dropped and the process does not take leave.
    pub fn is_ready(&self) -> bool {
        self.inner.latches.load(Ordering::Acquire) == 0 && !self.is_draining()
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.inner.latches.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_the_last_latch_falls_and_never_again_once_draining() {
        let readiness = Readiness::default();
        let latches = [readiness.latch(), readiness.latch()];
        let [first, second] = latches;
        drop(first);
        assert!(!readiness.is_ready());
        drop(second);
        assert!(readiness.is_ready());
        readiness.clone().drain();
        assert!(!readiness.is_ready());
    }
}

//! How many calls of one tool run at the same time, and how much is not finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The running calls of one tool in this process.
#[derive(Debug, Default)]
pub(crate) struct Slots(Arc<AtomicUsize>);

/// The place of one call; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Slot(Arc<AtomicUsize>);

impl Slots {
    /// A place, if fewer than `limit` are taken. Nobody waits for one: who is refused can still go elsewhere.
    pub(crate) fn take(&self, limit: usize) -> Option<Slot> {
        let more = |taken| (taken < limit).then_some(taken + 1);
        self.0.try_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Slot(Arc::clone(&self.0)))
    }
}

impl Slot {
    /// Counts something for as long as it lives, without a limit.
    pub(crate) fn beyond_limits(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

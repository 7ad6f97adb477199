//! How many calls of one tool run at the same time, and how much is not finished.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// How often one who waits for its turn looks whether it has come.
const TURN_POLL: Duration = Duration::from_millis(50);

/// The running calls of one tool in this process.
#[derive(Debug, Default, Clone)]
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

/// A place that its holder leaves to others while it waits for its client.
#[derive(Debug)]
pub(crate) struct Place {
    slots: Slots,
    slot: Mutex<Option<Slot>>,
}

impl Place {
    /// Among these, not taken yet.
    pub(crate) fn among(slots: &Slots) -> Self {
        Self { slots: slots.clone(), slot: Mutex::default() }
    }

    /// Takes it, if fewer than `limit` are taken; whether it has it now.
    pub(crate) fn try_take(&self, limit: usize) -> bool {
        let mut slot = self.lock();
        if slot.is_none() {
            *slot = self.slots.take(limit);
        }
        slot.is_some()
    }

    /// Waits until it has it.
    pub(crate) async fn take(&self, limit: impl Fn() -> usize) {
        while !self.try_take(limit()) {
            sleep(TURN_POLL).await;
        }
    }

    /// Leaves it to others.
    pub(crate) fn leave(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Slot>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a call that is refused where there is none.
#[derive(Debug)]
pub(crate) struct Seat {
    place: Place,
    pub(crate) limit: usize,
    /// How long it waits for a place after it was asked away from its own.
    wait: Duration,
}

impl Seat {
    /// A place, if fewer than `limit` are taken.
    pub(crate) fn take(slots: &Slots, limit: usize, wait: Duration) -> Option<Arc<Self>> {
        let seat = Self { place: Place::among(slots), limit, wait };
        seat.place.try_take(limit).then(|| Arc::new(seat))
    }

    /// Leaves it to others.
    pub(crate) fn leave(&self) {
        self.place.leave();
    }

    /// Takes one again; whether there was one in time.
    pub(crate) async fn take_again(&self) -> bool {
        timeout(self.wait, self.place.take(|| self.limit)).await.is_ok()
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

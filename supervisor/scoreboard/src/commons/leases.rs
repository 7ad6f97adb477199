//! Leases of running computations: of all processes of an instance one computes, the others wait for it.
//!
//! A key has the cell key mod 4096, of four words: fence, key, owner's process id, end of the lease in milliseconds of
//! CLOCK_MONOTONIC. The fence is the lock of its cell: odd while a process changes the other three, which takes a handful of
//! instructions, and then its highest 24 bits are the process's id. A process that dies or stops within them leaves its cell odd,
//! and nobody can take a lease there until [`Leases::forget`] says that it is dead: those keys are computed by whoever is asked,
//! which is a loss of work only.
//!
//! Two keys of one cell at the same time: the second gets no lease and computes without.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::memory::Region;

pub(super) const WORDS: usize = CELLS * CELL_WORDS;
const CELLS: usize = 4096;
const CELL_WORDS: usize = 4;
const FENCE: usize = 0;
const KEY: usize = 1;
const OWNER: usize = 2;
const END_MS: usize = 3;
/// Where the id of the process that changes a cell begins in its fence; ids are below 2^22 (proc(5), pid_max).
const CHANGER_SHIFT: u32 = 40;
const COUNT: u64 = (1 << CHANGER_SHIFT) - 1;

/// The leases. Cloning is cheap and shares the mapping.
#[derive(Debug, Clone)]
pub struct Leases {
    region: Arc<Region>,
    at: usize,
}

/// Tells one lease of a key from all others of its cell, so that an owner whose lease has ended cannot act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence(u64);

impl Fence {
    /// Its number; grows with each lease of a cell.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The fence of a number that was one.
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }
}

/// What became of a wish for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leased {
    /// It is the caller's.
    Mine(Fence),
    /// Another process computes the same; it says so again before that moment, in milliseconds of CLOCK_MONOTONIC.
    Held {
        /// When the lease ends if it is not renewed.
        until_ms: u64,
        /// Whose it is.
        fence: Fence,
    },
    /// The cell is taken by another key.
    Busy,
    /// Another process is changing the cell, or has died or stopped while it did: ask again in a moment, but not for ever.
    Unsettled,
}

impl Leases {
    pub(super) fn new(region: Arc<Region>, at: usize) -> Self {
        Self { region, at }
    }

    /// Takes the lease of `key` (not 0) for process `owner`, if nobody has it at `now_ms`, until `end_ms`.
    pub fn take(&self, key: u64, owner: u32, now_ms: u64, end_ms: u64) -> Leased {
        let fence = self.word(key, FENCE);
        let (held_key, until_ms) = (self.word(key, KEY), self.word(key, END_MS));
        // The words belong together only if the fence stood still.
        if fence % 2 == 1 || self.word(key, FENCE) != fence {
            return Leased::Unsettled;
        }
        if held_key != 0 && now_ms < until_ms {
            return if held_key == key { Leased::Held { until_ms, fence: Fence(fence) } } else { Leased::Busy };
        }
        if !self.lock(key, fence, owner) {
            return Leased::Unsettled;
        }
        // A renewal leaves the fence as it was: the owner may have come just in time.
        if self.word(key, KEY) != held_key || self.word(key, END_MS) != until_ms {
            self.restore(key, fence);
            return Leased::Unsettled;
        }
        self.set(key, KEY, key);
        self.set(key, OWNER, u64::from(owner));
        self.set(key, END_MS, end_ms);
        self.unlock(key, fence);
        Leased::Mine(Fence(fence.wrapping_add(2)))
    }

    /// Who has the lease of `key` at `now_ms`: when it ends.
    pub fn held(&self, key: u64, now_ms: u64) -> Option<u64> {
        let fence = self.word(key, FENCE);
        let (held_key, until_ms) = (self.word(key, KEY), self.word(key, END_MS));
        (held_key == key && now_ms < until_ms && self.word(key, FENCE) == fence).then_some(until_ms)
    }

    /// Whether the lease is still the one of this fence: nobody else has taken it. While it is being renewed it may say no.
    pub fn is_mine(&self, key: u64, fence: Fence) -> bool {
        self.word(key, FENCE) == fence.0 && self.word(key, KEY) == key
    }

    /// Prolongs a lease; false if it is another's by now.
    pub fn renew(&self, key: u64, fence: Fence, end_ms: u64) -> bool {
        if !self.is_mine(key, fence) || !self.lock(key, fence.0, self.owner(key)) {
            return false;
        }
        self.set(key, END_MS, end_ms);
        // The same fence again: the lease is the same one.
        self.restore(key, fence.0);
        true
    }

    /// Gives a lease back.
    pub fn release(&self, key: u64, fence: Fence) {
        if self.is_mine(key, fence) && self.lock(key, fence.0, self.owner(key)) {
            self.clear(key);
            self.unlock(key, fence.0);
        }
    }

    /// Gives back what a dead process held. Only for whoever reaped it, so that its number is nobody else's yet.
    pub fn forget(&self, owner: u32) {
        for key in 0..CELLS as u64 {
            let fence = self.word(key, FENCE);
            if fence % 2 == 1 {
                if fence >> CHANGER_SHIFT == u64::from(owner) {
                    // It died within the handful of instructions.
                    self.clear(key);
                    self.set_fence(key, (fence & COUNT).wrapping_add(1));
                }
            } else if self.owner(key) == owner && self.lock(key, fence, owner) {
                self.clear(key);
                self.unlock(key, fence);
            }
        }
    }

    fn clear(&self, key: u64) {
        self.set(key, KEY, 0);
        self.set(key, OWNER, 0);
        self.set(key, END_MS, 0);
    }

    fn owner(&self, key: u64) -> u32 {
        u32::try_from(self.word(key, OWNER)).unwrap_or(0)
    }

    fn lock(&self, key: u64, fence: u64, changer: u32) -> bool {
        let Some(word) = self.region.word(self.position(key, FENCE)) else { return false };
        let locked = fence.wrapping_add(1) & COUNT | u64::from(changer) << CHANGER_SHIFT;
        word.compare_exchange(fence, locked, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn unlock(&self, key: u64, fence: u64) {
        self.set_fence(key, fence.wrapping_add(2));
    }

    fn restore(&self, key: u64, fence: u64) {
        self.set_fence(key, fence);
    }

    fn set_fence(&self, key: u64, fence: u64) {
        if let Some(word) = self.region.word(self.position(key, FENCE)) {
            word.store(fence, Ordering::Release);
        }
    }

    fn set(&self, key: u64, part: usize, value: u64) {
        if let Some(word) = self.region.word(self.position(key, part)) {
            word.store(value, Ordering::Release);
        }
    }

    fn word(&self, key: u64, part: usize) -> u64 {
        self.region.word(self.position(key, part)).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn position(&self, key: u64, part: usize) -> usize {
        self.at + (key % CELLS as u64) as usize * CELL_WORDS + part
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::Commons;

    fn mine(leased: Leased) -> Fence {
        match leased {
            Leased::Mine(fence) => fence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_has_the_lease_until_it_ends_or_is_given_back() {
        let leases = Commons::create().unwrap().leases();
        let first = mine(leases.take(7, 1, 0, 100));
        assert_eq!(leases.take(7, 2, 99, 200), Leased::Held { until_ms: 100, fence: first });
        assert!(leases.renew(7, first, 150) && leases.is_mine(7, first));
        assert_eq!(leases.held(7, 120), Some(150));
        let second = mine(leases.take(7, 2, 150, 300));
        assert!(!leases.is_mine(7, first) && !leases.renew(7, first, 900), "its lease has ended and another's began");
        leases.release(7, first);
        assert_eq!(leases.held(7, 200), Some(300), "what has ended cannot be given back");
        leases.release(7, second);
        assert_eq!(leases.held(7, 200), None);
        mine(leases.take(7, 3, 200, 300));
    }

    #[test]
    fn two_keys_of_one_cell_do_not_wait_for_each_other() {
        let leases = Commons::create().unwrap().leases();
        mine(leases.take(7, 1, 0, 100));
        assert_eq!(leases.take(7 + CELLS as u64, 2, 0, 100), Leased::Busy);
    }

    #[test]
    fn what_a_dead_process_held_is_free_also_if_it_died_while_it_changed_the_cell() {
        let leases = Commons::create().unwrap().leases();
        mine(leases.take(7, 1, 0, 100));
        mine(leases.take(8, 2, 0, 100));
        leases.forget(1);
        assert_eq!((leases.held(7, 1), leases.held(8, 1)), (None, Some(100)));
        let fence = mine(leases.take(7, 1, 0, 100));
        assert!(leases.lock(7, fence.0, 4));
        assert_eq!(leases.take(7, 3, 500, 600), Leased::Unsettled);
        leases.forget(1);
        assert_eq!(leases.take(7, 3, 500, 600), Leased::Unsettled, "it was not the owner who died while he changed it");
        leases.forget(4);
        mine(leases.take(7, 3, 500, 600));
    }

    #[test]
    fn of_many_threads_one_gets_it() {
        let leases = Commons::create().unwrap().leases();
        for round in 1..200_u64 {
            let leases = &leases;
            let won = std::thread::scope(|scope| {
                let take = |owner| scope.spawn(move || matches!(leases.take(round, owner, 0, 9), Leased::Mine(_)));
                let tries: Vec<_> = (1..5).map(take).collect();
                tries.into_iter().map(|one| one.join().unwrap()).filter(|won| *won).count()
            });
            assert_eq!(won, 1);
        }
    }
}

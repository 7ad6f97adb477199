//! What this machine knows of the epochs of a cache that machines share.
//!
//! Two words of trust, three of this machine's membership, then for each cell of [`EPOCH_CELLS`](super::EPOCH_CELLS) the highest remote epoch anybody here
//! has seen, and the local epoch up to which the remote was told. The cells are those of the local epochs.
//!
//! A local bump is told once its cell has been bumped at the remote at any later time, so "told" only ever grows:
//! whoever died, hung or came late between a local bump and its answer can neither lose one nor take back another's. A
//! cell whose local epoch is beyond what was told has bumps the remote may not know of.
//!
//! | word | writer | when its writer dies |
//! |---|---|---|
//! | trusted until | the admin process | the time passes, and nobody trusts |
//! | remote incarnation | the admin process, before "trusted until" | as above |
//! | member id | the admin process that finds none, once for ever | kept: its successor is the same member |
//! | member until | the admin process, `fetch_max` before it asks for so much | the time passes: others trust nothing |
//! | other members | the admin process, after the remote has answered | kept |
//! | known | any process, `fetch_max` | kept |
//! | told | any process, `fetch_max`, after the remote has answered | kept: the admin process tells what is missing |

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::EPOCH_CELLS;
use crate::memory::Region;

pub(super) const WORDS: usize = FIRST_CELL + EPOCH_CELLS * 2;
const TRUSTED_UNTIL_MS: usize = 0;
const INCARNATION: usize = 1;
const MEMBER_ID: usize = 2;
const MEMBER_UNTIL_MS: usize = 3;
const OTHER_MEMBERS: usize = 4;
const FIRST_CELL: usize = 16;

/// What is known of the remote epochs. Cloning is cheap and shares the mapping.
#[derive(Debug, Clone)]
pub struct Remote {
    region: Arc<Region>,
    at: usize,
}

/// Until when, and of which incarnation of the remote epochs, what is known may be taken for the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteTrust {
    /// In milliseconds of CLOCK_MONOTONIC; 0 is never.
    pub until_ms: u64,
    /// What the known epochs are epochs of.
    pub incarnation: u64,
}

/// This machine among those that share the remote epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Until when the others may take this machine for one that tells them of its bumps, at the latest; in milliseconds of
    /// CLOCK_MONOTONIC, 0 is never. From then on they trust nothing.
    pub until_ms: u64,
    /// How many others there are.
    pub others: u64,
}

impl Remote {
    pub(super) fn new(region: Arc<Region>, at: usize) -> Self {
        Self { region, at }
    }

    /// Who may trust what is known, as long as the admin process keeps it up to date.
    pub fn trust(&self) -> RemoteTrust {
        let until_ms = self.load(TRUSTED_UNTIL_MS);
        RemoteTrust { until_ms, incarnation: self.load(INCARNATION) }
    }

    /// Says until when what is known is the truth. Another incarnation forgets what was known of the one before.
    pub fn set_trust(&self, trust: RemoteTrust) {
        if self.load(INCARNATION) != trust.incarnation {
            self.store(TRUSTED_UNTIL_MS, 0);
            for cell in 0..EPOCH_CELLS {
                self.store(FIRST_CELL + cell, 0);
            }
            self.store(INCARNATION, trust.incarnation);
        }
        self.store(TRUSTED_UNTIL_MS, trust.until_ms);
    }

    /// The id of this machine among the members: `suggested`, which is not 0, unless it has one already.
    pub fn member_id(&self, suggested: u64) -> u64 {
        let Some(word) = self.region.word(self.at + MEMBER_ID) else { return suggested };
        match word.compare_exchange(0, suggested, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => suggested,
            Err(present) => present,
        }
    }

    /// How long this machine is a member, and among how many others. Whoever has bumped a local epoch before and read the
    /// clock before this, and finds that the time is over, can be sure: [`Self::prolong_membership`] and a look at the local
    /// epochs after it see the bump, or this sees what it was prolonged to.
    pub fn membership(&self) -> Membership {
        fence(Ordering::SeqCst);
        Membership { until_ms: self.load(MEMBER_UNTIL_MS), others: self.load(OTHER_MEMBERS) }
    }

    /// This machine will ask to be a member until then. Before it does.
    pub fn prolong_membership(&self, until_ms: u64) {
        if let Some(word) = self.region.word(self.at + MEMBER_UNTIL_MS) {
            word.fetch_max(until_ms, Ordering::SeqCst);
        }
        fence(Ordering::SeqCst);
    }

    /// There are so many other members.
    pub fn set_other_members(&self, others: u64) {
        self.store(OTHER_MEMBERS, others);
    }

    /// The highest epoch of a cell anybody here has seen.
    pub fn known(&self, cell: usize) -> u64 {
        self.cell(cell).map_or(0, |at| self.load(at))
    }

    /// Somebody has seen this epoch.
    pub fn learn(&self, cell: usize, epoch: u64) {
        if let Some(word) = self.cell(cell).and_then(|at| self.region.word(self.at + at)) {
            word.fetch_max(epoch, Ordering::AcqRel);
        }
    }

    /// The local epoch of a cell up to which the remote was told.
    pub fn told(&self, cell: usize) -> u64 {
        self.cell(cell).map_or(0, |at| self.load(at + EPOCH_CELLS))
    }

    /// The remote has answered to a bump of a cell that was sent when its local epoch was this one, or a later one.
    pub fn tell(&self, cell: usize, local_epoch: u64) {
        if let Some(word) = self.cell(cell).and_then(|at| self.region.word(self.at + at + EPOCH_CELLS)) {
            word.fetch_max(local_epoch, Ordering::AcqRel);
        }
    }

    fn cell(&self, cell: usize) -> Option<usize> {
        (cell < EPOCH_CELLS).then_some(FIRST_CELL + cell)
    }

    fn load(&self, at: usize) -> u64 {
        self.region.word(self.at + at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn store(&self, at: usize, value: u64) {
        if let Some(word) = self.region.word(self.at + at) {
            word.store(value, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Commons;

    #[test]
    fn another_incarnation_forgets_what_was_known_and_keeps_what_was_told() {
        let remote = Commons::create().unwrap().remote();
        remote.set_trust(RemoteTrust { until_ms: 10, incarnation: 1 });
        remote.learn(3, 8);
        remote.learn(3, 5);
        remote.tell(3, 2);
        remote.tell(3, 1);
        assert_eq!((remote.known(3), remote.told(3)), (8, 2));
        remote.set_trust(RemoteTrust { until_ms: 20, incarnation: 1 });
        assert_eq!(remote.known(3), 8);
        remote.set_trust(RemoteTrust { until_ms: 30, incarnation: 2 });
        assert_eq!((remote.known(3), remote.told(3)), (0, 2));
        remote.learn(EPOCH_CELLS, 1);
        assert_eq!(remote.known(EPOCH_CELLS), 0);
    }

    #[test]
    fn a_machine_is_one_member_for_ever_and_its_time_only_grows() {
        let commons = Commons::create().unwrap();
        let (one, two) = (commons.remote(), commons.remote());
        assert_eq!((one.member_id(7), two.member_id(8)), (7, 7));
        assert_eq!(one.membership(), Membership { until_ms: 0, others: 0 });
        one.prolong_membership(20);
        two.prolong_membership(10);
        two.set_other_members(2);
        assert_eq!(one.membership(), Membership { until_ms: 20, others: 2 });
    }
}

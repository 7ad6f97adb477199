//! The state for people.

use super::event::Post;
use super::state::{Health, Phase, Second, SlotState, State};

/// One slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotReport {
    pub(crate) post: Post,
    /// What it is doing, as a word.
    pub(crate) state: &'static str,
    /// Whether its process serves and sends heartbeats.
    pub(crate) serves: bool,
    /// Whether its breaker is open.
    pub(crate) is_broken: bool,
    /// Its process.
    pub(crate) generation: Option<u64>,
    /// What its other process is doing, and its generation.
    pub(crate) second: Option<(&'static str, u64)>,
}

impl State {
    /// The worker slots in order, then the admin process.
    pub(crate) fn report(&self) -> impl Iterator<Item = SlotReport> + '_ {
        self.slots.iter().map(|slot| SlotReport {
            post: slot.post,
            state: match (slot.state, slot.health) {
                (SlotState::Empty, _) => "empty",
                (SlotState::Starting(_), _) => "starting",
                (SlotState::Live { .. }, Health::Sound) => "live",
                (SlotState::Live { .. }, Health::Parked) => "parked",
                (SlotState::Live { .. }, Health::Hung { .. }) => "hung",
                (SlotState::Live { .. }, Health::Condemned) => "aborted",
                (SlotState::Live { .. }, Health::Leaving { .. }) => "leaving",
                (SlotState::Draining(_), _) => "draining",
                (SlotState::Backoff { .. }, _) => "backoff",
                (SlotState::Broken { .. }, _) => "broken",
            },
            serves: matches!((slot.state, slot.health), (SlotState::Live { .. }, Health::Sound)),
            is_broken: matches!(slot.state, SlotState::Broken { .. }),
            generation: slot.process().map(|process| process.generation),
            second: slot.second.map(|second| match second {
                Second::Successor { process, .. } => ("successor", process.generation),
                Second::Leaving(process) => ("leaving", process.generation),
            }),
        })
    }

    /// Whether other settings or another program are being taken over.
    pub(crate) fn reloads(&self) -> bool {
        self.reload.is_some()
    }

    /// Whether another program is about to take over.
    pub(crate) fn is_replacing(&self) -> bool {
        self.upgrade == Some(super::reload::Upgrade::Replacing)
    }

    /// Whether it was told that the instance serves.
    pub(crate) fn is_announced(&self) -> bool {
        self.announced
    }

    /// Whether the instance is on its way out.
    pub(crate) fn drains(&self) -> bool {
        self.phase != Phase::Serving
    }

    /// Whether anybody is to be recycled, so that it matters how worn the workers are.
    pub(crate) fn recycles(&self) -> bool {
        self.phase == Phase::Serving && self.policy.recycle.is_any()
    }

    /// Whether a rolling restart is under way.
    pub(crate) fn restarts(&self) -> bool {
        self.rolling.is_some()
    }
}

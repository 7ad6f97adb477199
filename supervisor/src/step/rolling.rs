//! Workers are replaced one by one: one first as a canary, then the others. The successor is ready on the same sockets
//! before the old worker drains, and the next slot begins when the old one has gone: so there are never more than two
//! generations, nor two voluntary restarts at a time.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::event::{Action, Notice, Post, ReloadFailure, RestartFailure, What};
use super::reload::Upgrade;
use super::restart::EARLY_MS;
use super::scale;
use super::state::{Phase, Second, SlotState, State};
use super::{recycle, reload};

/// What workers are replaced for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// An operator asked for it.
    Restart,
    /// Other settings.
    Reload,
    /// Another program.
    Upgrade,
    /// What was replaced for settings or a program that turned out bad goes back.
    Rollback,
}

/// A restart under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Rolling {
    purpose: Purpose,
    /// What the new workers are started with.
    revision: u64,
    /// Slots still to be restarted, in order.
    left: VecDeque<Post>,
    /// The slot being restarted, and its new process.
    current: Option<(Post, u64)>,
    /// Workers replaced.
    replaced: u16,
}

impl Rolling {
    /// Whether the process is the one the restart waits for.
    pub(super) fn is_current(&self, generation: u64) -> bool {
        self.current.is_some_and(|(_, new)| new == generation)
    }

    /// The canary has to serve for a while before it takes over; the old worker serves beside it.
    pub(super) fn is_canary(&self, generation: u64) -> bool {
        self.purpose != Purpose::Rollback && self.replaced == 0 && self.is_current(generation)
    }
}

/// Somebody asked for a restart. One that is under way answers for both; one for another reason is waited for.
pub(super) fn asked(state: &mut State, actions: &mut Vec<Action>) {
    let is_restart = |rolling: &Rolling| rolling.purpose == Purpose::Restart;
    if state.phase != Phase::Serving {
        let reason = RestartFailure::Stopping;
        actions.push(Action::Tell(Notice::RestartFailed { purpose: Purpose::Restart, replaced: 0, reason }));
    } else if state.reload.is_some() || state.upgrade.is_some_and(Upgrade::is_sure) {
        state.restart_wanted = true;
    } else if !state.rolling.as_ref().is_some_and(is_restart) {
        state.restart_wanted = false;
        let all = state.workers().map(|slot| slot.post).collect();
        begin(state, Purpose::Restart, state.revision, all, actions);
    }
}

/// Begins to replace the workers of these slots.
pub(super) fn begin(
    state: &mut State,
    purpose: Purpose,
    revision: u64,
    left: VecDeque<Post>,
    actions: &mut Vec<Action>,
) {
    actions.push(Action::Tell(Notice::RestartBegun { purpose, workers: left.len() as u16 }));
    state.rolling = Some(Rolling { purpose, revision, left, current: None, replaced: 0 });
}

/// A process died; if the restart depended on it, the restart is over.
pub(super) fn died(state: &mut State, generation: u64, actions: &mut Vec<Action>) {
    let Some(Rolling { purpose, current: Some((post, new)), replaced, .. }) = state.rolling else { return };
    if new != generation {
        return;
    }
    if purpose == Purpose::Rollback {
        // Its slot is left to the restart policy, with what was trusted before; the others go on.
        if let Some(rolling) = &mut state.rolling {
            rolling.current = None;
            let trusted = rolling.revision;
            // Or it would be tried again at once, and for ever.
            state.slots.iter_mut().filter(|slot| slot.post == post).for_each(|slot| slot.revision = trusted);
        }
        return;
    }
    state.rolling = None;
    actions.push(Action::Tell(Notice::RestartFailed { purpose, replaced, reason: RestartFailure::Died { post } }));
    reload::failed(state, replaced, ReloadFailure::Died { post }, actions);
}

/// The instance stops, and that comes first.
pub(super) fn abandon(state: &mut State, actions: &mut Vec<Action>) {
    let stopped =
        |purpose, replaced| Action::Tell(Notice::RestartFailed { purpose, replaced, reason: RestartFailure::Stopping });
    if let Some(Rolling { purpose, replaced, .. }) = state.rolling.take() {
        actions.push(stopped(purpose, replaced));
    }
    if std::mem::take(&mut state.restart_wanted) {
        actions.push(stopped(Purpose::Restart, 0));
    }
}

/// Goes on to the next slot when the present one is done.
pub(super) fn advance(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    loop {
        if state.rolling.is_some() {
            scale::give_way(state);
        }
        let recycles = recycle::is_under_way(state);
        let Some(Rolling { purpose, revision, left, current, replaced }) = &mut state.rolling else { return };
        let (purpose, revision) = (*purpose, *revision);
        if let Some((post, new)) = *current {
            let slot = state.slots.iter().find(|slot| slot.post == post);
            let done = slot.is_none_or(|slot| {
                slot.second.is_none()
                    && matches!(slot.state, SlotState::Live { process, .. } if process.generation == new)
            });
            if !done {
                return;
            }
            *current = None;
            *replaced += 1;
        }
        // One change at a time.
        if state.closing.is_some() || recycles {
            return;
        }
        let Some(post) = left.front().copied() else {
            // A slot that was added meanwhile.
            let late = |slot: &&super::state::Slot| slot.post != Post::Admin && slot.revision != revision;
            if purpose != Purpose::Restart
                && let Some(slot) = state.slots.iter().find(late)
            {
                left.push_back(slot.post);
                continue;
            }
            let workers = *replaced;
            state.rolling = None;
            actions.push(Action::Tell(Notice::Restarted { purpose, workers }));
            reload::rolled(state, workers);
            return;
        };
        let index = state.slots.iter().position(|slot| slot.post == post);
        let Some((index, slot)) = index.and_then(|index| Some((index, state.slots.get_mut(index)?))) else {
            left.pop_front();
            continue;
        };
        match (slot.state, slot.second) {
            (SlotState::Live { process, .. }, None) if purpose != Purpose::Restart && process.revision == revision => {
                left.pop_front();
                slot.revision = revision;
            }
            (SlotState::Live { process, .. }, None) if process.killed.is_none() => {
                left.pop_front();
                let new = super::start_successor(state, index, revision, now_ms, actions);
                if let Some(rolling) = &mut state.rolling {
                    rolling.current = new.map(|generation| (post, generation));
                }
            }
            // It is being replaced already, or about to be.
            (SlotState::Live { .. } | SlotState::Starting(_) | SlotState::Draining(_), _) => return,
            // Its next process is a new one anyway.
            (SlotState::Empty | SlotState::Backoff { .. } | SlotState::Broken { .. }, _) => {
                left.pop_front();
                slot.revision = revision;
                // What it died of may be cured.
                if matches!(purpose, Purpose::Reload | Purpose::Upgrade) && slot.state != SlotState::Empty {
                    slot.early_deaths.clear();
                    slot.state = SlotState::Backoff { until_ms: now_ms };
                }
            }
        }
    }
}

/// When a successor that said ready then takes over.
pub(super) fn takes_over_ms(state: &State, second: &Second) -> Option<u64> {
    let Second::Successor { process, ready_ms: Some(ready_ms) } = second else { return None };
    let is_canary = state.rolling.as_ref().is_some_and(|rolling| rolling.is_canary(process.generation));
    Some(if is_canary { ready_ms + EARLY_MS } else { *ready_ms })
}

impl From<What> for Purpose {
    fn from(what: What) -> Self {
        match what {
            What::Settings => Self::Reload,
            What::Program => Self::Upgrade,
        }
    }
}

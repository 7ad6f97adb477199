//! Rolling restart: one worker first as a canary, then the others one by one. The successor is ready on the same sockets
//! before the old worker drains, and the next slot begins when the old one has gone: so there are never more than two
//! generations, nor two voluntary restarts at a time.

use std::collections::VecDeque;

use super::event::{Action, Notice, Post, RestartFailure};
use super::restart::EARLY_MS;
use super::scale::{self, Closing};
use super::state::{Phase, Second, SlotState, State};

/// A restart under way.
#[derive(Debug)]
pub(super) struct Rolling {
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
        self.replaced == 0 && self.is_current(generation)
    }
}

/// Somebody asked for a restart. One that is under way answers for both.
pub(super) fn begin(state: &mut State, actions: &mut Vec<Action>) {
    if state.phase != Phase::Serving {
        actions.push(Action::Tell(Notice::RestartFailed { replaced: 0, reason: RestartFailure::Stopping }));
    } else if state.rolling.is_none() {
        let left: VecDeque<Post> = state.workers().map(|slot| slot.post).collect();
        actions.push(Action::Tell(Notice::RestartBegun { workers: left.len() as u16 }));
        state.rolling = Some(Rolling { left, current: None, replaced: 0 });
    }
}

/// A process died; if the restart depended on it, the restart is over.
pub(super) fn died(state: &mut State, generation: u64, actions: &mut Vec<Action>) {
    if let Some(Rolling { current: Some((post, new)), replaced, .. }) = state.rolling
        && new == generation
    {
        state.rolling = None;
        let reason = RestartFailure::Died { post };
        actions.push(Action::Tell(Notice::RestartFailed { replaced, reason }));
    }
}

/// The instance stops, and that comes first.
pub(super) fn abandon(state: &mut State, actions: &mut Vec<Action>) {
    if let Some(Rolling { replaced, .. }) = state.rolling.take() {
        actions.push(Action::Tell(Notice::RestartFailed { replaced, reason: RestartFailure::Stopping }));
    }
}

/// Goes on to the next slot when the present one is done.
pub(super) fn advance(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    loop {
        let others_serve = scale::others_serve(state);
        let Some(Rolling { left, current, replaced }) = &mut state.rolling else { return };
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
        // One change at a time. But a slot that cannot be closed because no other serves may stay that way for long.
        if matches!(state.closing, Some(Closing::Emptying { .. })) && !others_serve {
            state.closing = None;
        }
        if state.closing.is_some() {
            return;
        }
        let Some(post) = left.front().copied() else {
            let workers = *replaced;
            state.rolling = None;
            actions.push(Action::Tell(Notice::Restarted { workers }));
            return;
        };
        let index = state.slots.iter().position(|slot| slot.post == post);
        let Some((index, slot)) = index.and_then(|index| Some((index, state.slots.get(index)?))) else {
            left.pop_front();
            continue;
        };
        match (slot.state, slot.second) {
            (SlotState::Live { process, .. }, None) if process.killed.is_none() => {
                left.pop_front();
                let new = super::start_successor(state, index, now_ms, actions);
                if let Some(rolling) = &mut state.rolling {
                    rolling.current = new.map(|generation| (post, generation));
                }
            }
            // It is being replaced already, or about to be.
            (SlotState::Live { .. } | SlotState::Starting(_) | SlotState::Draining(_), _) => return,
            // Its next process is a new one anyway.
            (SlotState::Empty | SlotState::Backoff { .. } | SlotState::Broken { .. }, _) => drop(left.pop_front()),
        }
    }
}

/// When a successor that said ready then takes over.
pub(super) fn takes_over_ms(state: &State, second: &Second) -> Option<u64> {
    let Second::Successor { process, ready_ms: Some(ready_ms) } = second else { return None };
    let is_canary = state.rolling.as_ref().is_some_and(|rolling| rolling.is_canary(process.generation));
    Some(if is_canary { ready_ms + EARLY_MS } else { *ready_ms })
}

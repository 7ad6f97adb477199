//! More or fewer worker slots. Only the highest slot is ever closed: closing another would renumber the group of sockets.

use serde::{Deserialize, Serialize};

use super::event::{Action, Notice, Post, ScaleFailure};
use super::reload::Upgrade;
use super::state::{Health, Phase, Slot, SlotState, State};
use super::{drain, recycle};

/// A queue that was empty for so long, after new connections went elsewhere, stays empty: handshakes under way are over by
/// then. In milliseconds.
pub(super) const EMPTY_MS: u64 = 50;

/// How far the highest slot is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Closing {
    /// New connections go elsewhere; its worker accepts what waits.
    Emptying {
        /// Since when nothing waits.
        empty_since_ms: Option<u64>,
        /// When it is closed all the same.
        until_ms: u64,
    },
    /// Its worker was told to leave.
    Draining,
}

/// Somebody asked for a number of workers.
pub(super) fn to(state: &mut State, workers: u16, actions: &mut Vec<Action>) {
    if state.phase != Phase::Serving {
        let (asked, workers) = (workers, state.worker_slots());
        actions.push(Action::Tell(Notice::ScaleFailed { asked, workers, reason: ScaleFailure::Stopping }));
        return;
    }
    state.told_target = 0;
    state.target = workers.clamp(1, state.policy.slots_max());
    actions.push(Action::Tell(Notice::ScaleBegun { asked: workers, workers: state.target }));
}

/// The sockets of a new slot are open, or could not be opened.
pub(super) fn opened(state: &mut State, ok: bool, now_ms: u64, actions: &mut Vec<Action>) {
    if !std::mem::take(&mut state.opening) || state.phase != Phase::Serving {
        return;
    }
    let number = state.worker_slots();
    if !ok {
        let asked = std::mem::replace(&mut state.target, number);
        state.told_target = number;
        actions.push(Action::Tell(Notice::ScaleFailed { asked, workers: number, reason: ScaleFailure::NotOpened }));
        return;
    }
    let mut slot = Slot::new(Post::Worker(number), state.revision);
    slot.added = true;
    slot.state = SlotState::Backoff { until_ms: now_ms };
    state.slots.insert(usize::from(number), slot);
    // The kernel's own choice takes the new socket in, so it must be told again.
    state.steered.clear();
}

/// What waits in the queues of a slot; of interest here if it is to be closed.
pub(super) fn queue(state: &mut State, slot: u16, waiting: u32, now_ms: u64) {
    if state.emptying() == Some(slot)
        && let Some(Closing::Emptying { empty_since_ms, .. }) = &mut state.closing
    {
        *empty_since_ms = if waiting == 0 { empty_since_ms.or(Some(now_ms)) } else { None };
    }
}

/// Takes the next step towards the number of workers that was asked for.
pub(super) fn advance(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    if state.phase != Phase::Serving || state.opening {
        return;
    }
    let open = state.worker_slots();
    match state.closing {
        None if open < state.target => {
            state.opening = true;
            actions.push(Action::OpenSlot { slot: open });
        }
        // A slot is not closed in the middle of a rolling restart, nor while a worker is recycled.
        None if open > state.target
            && state.rolling.is_none()
            && !recycle::is_under_way(state)
            && !state.upgrade.is_some_and(Upgrade::is_sure) =>
        {
            let until_ms = now_ms + state.policy.drain_timeout_ms;
            state.closing = Some(Closing::Emptying { empty_since_ms: None, until_ms });
        }
        None => {
            if open == state.target
                && state.told_target != state.target
                && let Some(notice) = outcome(state)
            {
                state.told_target = state.target;
                actions.push(Action::Tell(notice));
            }
        }
        Some(Closing::Emptying { .. }) if open <= state.target => {
            state.closing = None;
            advance(state, now_ms, actions);
        }
        Some(Closing::Emptying { empty_since_ms, until_ms }) => {
            let is_empty = empty_since_ms.is_some_and(|since_ms| since_ms + EMPTY_MS <= now_ms);
            if (is_empty || until_ms <= now_ms) && others_serve(state) {
                state.closing = Some(Closing::Draining);
                let timeout_ms = state.policy.drain_timeout_ms;
                if let Some(slot) = state.highest() {
                    drain::dismiss(slot, timeout_ms, now_ms, actions);
                }
            }
        }
        Some(Closing::Draining) => {}
    }
    if state.closing == Some(Closing::Draining) && state.highest().is_some_and(|slot| slot.processes().next().is_none())
    {
        let slot = open - 1;
        state.slots.remove(usize::from(slot));
        state.closing = None;
        state.last_live = state.last_live.filter(|post| *post != Post::Worker(slot));
        actions.push(Action::CloseSlot { slot });
        advance(state, now_ms, actions);
    }
}

/// A slot that is to be closed and cannot be, because no other serves, may stay that way for long: what is more urgent goes
/// first, and it is tried again after that.
pub(super) fn give_way(state: &mut State) {
    if matches!(state.closing, Some(Closing::Emptying { .. })) && !others_serve(state) {
        state.closing = None;
    }
}

/// How it ended, once the worker of every new slot was ready or one cannot start.
fn outcome(state: &State) -> Option<Notice> {
    let workers = state.worker_slots();
    let new = || state.workers().filter(|slot| slot.added && !slot.ever_ready);
    if let Some(slot) = new().find(|slot| matches!(slot.state, SlotState::Broken { .. })) {
        let reason = ScaleFailure::Broken { post: slot.post };
        return Some(Notice::ScaleFailed { asked: workers, workers, reason });
    }
    new().next().is_none().then_some(Notice::Scaled { workers })
}

/// The last slot that serves is not closed, whatever was asked for.
pub(super) fn others_serve(state: &State) -> bool {
    let highest = Post::Worker(state.worker_slots() - 1);
    let serves = |slot: &Slot| matches!(slot.state, SlotState::Live { .. }) && slot.health == Health::Sound;
    state.workers().any(|slot| slot.post != highest && serves(slot))
}

//! The way out: workers in parallel, then the admin process, so that metrics stay visible while workers drain.

use super::event::{Action, KillReason, Notice, Post};
use super::state::{Health, Phase, Second, Slot, SlotState, State};
use super::{reload, rolling};
use crate::Exit;

/// What the admin process is given once the workers are gone, in milliseconds.
pub(super) const ADMIN_DRAIN_MS: u64 = 2_000;

/// SIGTERM or SIGINT: the first one drains, the second one kills.
pub(super) fn stop(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    let again = std::mem::replace(&mut state.signalled, true);
    match state.phase {
        Phase::Serving => begin(state, Exit::Clean, now_ms, actions),
        Phase::Draining { .. } if !again => {}
        Phase::Draining { .. } => {
            for process in state.slots.iter_mut().flat_map(Slot::processes_mut) {
                process.overdue = None;
                process.killed = Some(KillReason::SecondSignal);
                actions.push(Action::Kill { generation: process.generation, reason: KillReason::SecondSignal });
            }
        }
        Phase::Done => {}
    }
}

/// An operator asked for a drain; asked again, nothing more.
pub(super) fn asked(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    if state.phase == Phase::Serving {
        begin(state, Exit::Clean, now_ms, actions);
    }
}

/// Starts to drain. No process is started from here on.
pub(super) fn begin(state: &mut State, wanted: Exit, now_ms: u64, actions: &mut Vec<Action>) {
    state.phase = Phase::Draining { wanted, forced: false };
    rolling::abandon(state, actions);
    reload::abandon(state, actions);
    let timeout_ms = state.policy.drain_timeout_ms;
    actions.push(Action::Tell(Notice::Draining { deadline_ms: timeout_ms }));
    for slot in &mut state.slots {
        match slot.post {
            Post::Worker(_) => dismiss(slot, timeout_ms, now_ms, actions),
            Post::Admin => match slot.state {
                SlotState::Backoff { .. } | SlotState::Broken { .. } => slot.state = SlotState::Empty,
                SlotState::Empty | SlotState::Starting(_) | SlotState::Live { .. } | SlotState::Draining(_) => {}
            },
        }
    }
}

/// A process says that it has finished.
pub(super) fn drained(state: &mut State, generation: u64, forced: bool) {
    let Some(process) = state.process_of(generation) else { return };
    process.drained = true;
    if forced {
        mark_forced(state);
    }
}

/// Something was cut; the exit tells.
pub(super) fn mark_forced(state: &mut State) {
    match &mut state.phase {
        Phase::Draining { forced, .. } => *forced = true,
        Phase::Serving | Phase::Done => {}
    }
}

/// Goes on to the admin process when the workers are gone, and leaves when everything is.
pub(super) fn advance(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    let Phase::Draining { wanted, forced } = state.phase else { return };
    if state.workers().any(|slot| slot.processes().next().is_some()) {
        return;
    }
    let mut empty = true;
    for slot in state.slots.iter_mut().filter(|slot| slot.post == Post::Admin) {
        if !matches!(slot.state, SlotState::Draining(_)) {
            dismiss(slot, ADMIN_DRAIN_MS, now_ms, actions);
        }
        empty &= slot.processes().next().is_none();
    }
    if empty {
        state.phase = Phase::Done;
        // A bug or bad settings weigh more than a cut call.
        let exit = if forced && wanted == Exit::Clean { Exit::Forced } else { wanted };
        actions.push(Action::Exit(exit));
    }
}

/// Tells the slot's processes to leave, with a limit; a slot without one stays without. Whoever leaves already keeps the
/// limit it has.
pub(super) fn dismiss(slot: &mut Slot, timeout_ms: u64, now_ms: u64, actions: &mut Vec<Action>) {
    // Whoever leaves gets no successor.
    slot.health = Health::Sound;
    slot.state = match slot.state {
        SlotState::Starting(mut process) | SlotState::Live { mut process, .. } => {
            process.dismiss(timeout_ms, now_ms, actions);
            SlotState::Draining(process)
        }
        SlotState::Draining(process) => SlotState::Draining(process),
        SlotState::Empty | SlotState::Backoff { .. } | SlotState::Broken { .. } => SlotState::Empty,
    };
    if let Some(Second::Successor { .. }) = slot.second {
        slot.dismiss_second(timeout_ms, now_ms, actions);
    }
}

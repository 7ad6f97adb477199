//! Workers that run and do not serve: steered around first, then replaced, then ended.
//!
//! The heartbeat comes from the thread that serves, so a handler that never yields stops it as a stopped process does.

use super::event::{Action, KillReason, Notice, Post};
use super::state::{Health, Phase, Process, Second, Slot, SlotState, State};

/// Heartbeats are looked at this often, in milliseconds.
pub(crate) const LOOK_MS: u64 = 50;
/// A worker whose heartbeat is older gets no new connections, in milliseconds.
pub(super) const STALE_MS: u64 = 150;
/// A process whose heartbeat is older is hung, in milliseconds.
pub(super) const HUNG_MS: u64 = 1_000;
/// What a successor is given to become ready before the hung process is ended without one, in milliseconds.
pub(super) const SUCCESSION_MS: u64 = 5_000;
/// A worker that was told to leave and whose heartbeat is older cannot finish its calls, in milliseconds. It gets no new
/// ones, so there is time for a handler that blocks the thread and then returns.
pub(super) const DEAF_MS: u64 = 5_000;
/// From SIGABRT, which leaves a core for diagnosis, to SIGKILL, in milliseconds.
pub(super) const ABORT_MS: u64 = 1_000;
/// A look that comes this much too late says more about the supervisor, or the machine, than about any process: all ages
/// are counted anew. In milliseconds.
pub(super) const OVERSLEPT_MS: u64 = 100;

/// A round of looks begins.
pub(super) fn look(state: &mut State, now_ms: u64) {
    if now_ms.saturating_sub(state.looked_ms) > LOOK_MS + OVERSLEPT_MS {
        state.counted_from_ms = now_ms;
        for slot in &mut state.slots {
            slot.processes_mut().for_each(|process| process.excused_ms = now_ms);
            postpone(slot, now_ms);
        }
    }
    state.looked_ms = now_ms;
}

/// The heartbeat of one process. A process that gets no processor is not hung, but no new connections are sent to it.
pub(super) fn pulse(
    state: &mut State,
    generation: u64,
    heartbeat_ms: u64,
    starved: bool,
    now_ms: u64,
    actions: &mut Vec<Action>,
) {
    let counted_from_ms = state.counted_from_ms;
    let Some(process) = state.process_of(generation) else { return };
    if starved {
        process.excused_ms = now_ms;
    }
    let process = *process;
    leaving(state, generation, heartbeat_ms, now_ms, actions);
    if state.phase != Phase::Serving {
        return;
    }
    let live =
        |slot: &&mut Slot| matches!(slot.state, SlotState::Live { process, .. } if process.generation == generation);
    let Some(slot) = state.slots.iter_mut().find(live) else { return };
    let SlotState::Live { since_ms, .. } = slot.state else { return };
    if starved {
        postpone(slot, now_ms);
    }
    let answers = now_ms.saturating_sub(heartbeat_ms.max(since_ms)) <= STALE_MS;
    let from_ms = heartbeat_ms.max(counted_from_ms).max(since_ms);
    let stale = now_ms.saturating_sub(from_ms) > STALE_MS;
    let hung = now_ms.saturating_sub(from_ms.max(process.excused_ms)) > HUNG_MS;
    match slot.health {
        Health::Sound if stale => {
            slot.health = Health::Parked;
            actions.push(Action::Tell(Notice::Parked { post: slot.post }));
        }
        Health::Parked if hung => {
            slot.health = Health::Hung { abort_ms: now_ms + SUCCESSION_MS, alone: false };
            actions.push(Action::Tell(Notice::Hung { post: slot.post, age_ms: now_ms.saturating_sub(heartbeat_ms) }));
        }
        Health::Parked | Health::Hung { .. } if answers => {
            let wanted = |generation| state.rolling.as_ref().is_some_and(|rolling| rolling.is_current(generation));
            take_back(slot, wanted, state.policy.drain_timeout_ms, now_ms, actions);
        }
        Health::Sound | Health::Parked | Health::Hung { .. } | Health::Condemned | Health::Leaving { .. } => {}
    }
}

/// A worker that was told to leave is ended when it cannot finish what it has.
fn leaving(state: &mut State, generation: u64, heartbeat_ms: u64, now_ms: u64, actions: &mut Vec<Action>) {
    for slot in state.slots.iter_mut().filter(|slot| slot.post != Post::Admin) {
        let told = match (&mut slot.state, &mut slot.second) {
            (SlotState::Draining(process), _) if process.generation == generation => process,
            (_, Some(Second::Leaving(process))) if process.generation == generation => process,
            _ => continue,
        };
        let age_ms = now_ms.saturating_sub(heartbeat_ms.max(told.excused_ms));
        if told.was_ready && !told.aborted && told.killed.is_none() && age_ms > DEAF_MS {
            actions.push(Action::Tell(Notice::Deaf { post: slot.post, age_ms: now_ms.saturating_sub(heartbeat_ms) }));
            abort(told, now_ms, actions);
        }
    }
}

/// Its silence so far says nothing about it.
fn postpone(slot: &mut Slot, now_ms: u64) {
    if let Health::Hung { abort_ms, .. } = &mut slot.health {
        *abort_ms = (*abort_ms).max(now_ms + HUNG_MS);
    }
}

/// It answers again, before its successor was ready. A successor that is `wanted` anyway goes on.
fn take_back(
    slot: &mut Slot,
    wanted: impl Fn(u64) -> bool,
    drain_timeout_ms: u64,
    now_ms: u64,
    actions: &mut Vec<Action>,
) {
    let was_hung = matches!(slot.health, Health::Hung { .. });
    slot.health = Health::Sound;
    if !was_hung {
        return;
    }
    actions.push(Action::Tell(Notice::TakenBack { post: slot.post }));
    if let Some(Second::Successor { process, .. }) = slot.second
        && !wanted(process.generation)
    {
        slot.second = Some(Second::Leaving(process));
        slot.dismiss_second(drain_timeout_ms, now_ms, actions);
    }
}

/// Starts successors of hung workers, and ends those that were given long enough.
pub(super) fn advance(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    if state.phase != Phase::Serving {
        return;
    }
    for index in 0..state.slots.len() {
        let Some(slot) = state.slots.get_mut(index) else { continue };
        let revision = slot.revision;
        if slot.health == (Health::Leaving { alone: false }) && slot.second.is_none() {
            let _ = super::start_successor(state, index, revision, now_ms, actions);
            continue;
        }
        let (Health::Hung { abort_ms, alone }, post) = (slot.health, slot.post) else { continue };
        if abort_ms <= now_ms {
            slot.health = Health::Condemned;
            if let SlotState::Live { process, .. } = &mut slot.state {
                abort(process, now_ms, actions);
            }
        } else if !alone && slot.second.is_none() && matches!(post, Post::Worker(_)) {
            // The admin process keeps house alone, so it has no second; it is ended and then replaced.
            let _ = super::start_successor(state, index, revision, now_ms, actions);
        }
    }
}

/// Ends a hung process.
pub(super) fn abort(process: &mut Process, now_ms: u64, actions: &mut Vec<Action>) {
    process.aborted = true;
    process.kill_by(now_ms + ABORT_MS, KillReason::Hung);
    actions.push(Action::Abort { generation: process.generation });
}

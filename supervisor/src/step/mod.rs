//! All decisions of the supervisor: a pure function of what it knows, what happened, and the time.
//!
//! - `event.rs`   events, actions, notices
//! - `state.rs`   slots and the life of the instance; `report.rs` tells it
//! - `restart.rs` deaths: back-off and breaker
//! - `hang.rs`    processes that run and do not serve
//! - `succession.rs` a second process in a slot takes over
//! - `rolling.rs` all workers are replaced one by one
//! - `reload.rs`  other settings, another program
//! - `recycle.rs` worn workers are replaced one at a time
//! - `scale.rs`   more or fewer slots
//! - `adopt.rs`   queues that nobody accepts from
//! - `drain.rs`   the way out
//! - `steer.rs`   which slots get new connections
//! - `tests.rs`, `schedules.rs` each rule by itself; random schedules

mod adopt;
mod drain;
mod event;
mod hang;
mod recycle;
mod reload;
mod report;
mod restart;
mod rolling;
mod scale;
#[cfg(test)]
mod schedules;
mod state;
mod steer;
mod succession;
#[cfg(test)]
mod tests;

pub(crate) use event::{
    Action, Change, Event, KillReason, Notice, Post, ReloadFailure, RestartFailure, ScaleFailure, What,
};
pub(crate) use hang::LOOK_MS;
pub(crate) use recycle::{Limits, Reason};
pub(crate) use report::SlotReport;
pub(crate) use rolling::Purpose;
pub(crate) use state::{MAX_SLOTS, Policy, State};
#[cfg(test)]
pub(crate) use tests::POLICY;

use state::{Health, Phase, Second, Slot, SlotState};

/// How long a process may live on after it lost its link or announced its exit, in milliseconds.
const LINGER_MS: u64 = 2_000;

/// Takes one event into the state and says what is to be done. `now_ms` never runs backwards.
pub(crate) fn step(state: &mut State, event: Event, now_ms: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    restart::close_breakers(state, now_ms);
    match event {
        Event::Start => start(state, now_ms, &mut actions),
        Event::Tick => {}
        Event::Restart => rolling::asked(state, &mut actions),
        Event::Reload => reload::asked(state, &mut actions),
        Event::Loaded { revision, change } => reload::loaded(state, revision, change, &mut actions),
        Event::NotLoaded { same } => reload::not_loaded(state, same, &mut actions),
        Event::Applied { generation, revision } => reload::applied(state, generation, revision),
        Event::Upgrade => reload::upgrade(state, &mut actions),
        Event::Checked { ok } => reload::checked(state, ok, &mut actions),
        Event::NotReplaced => reload::not_replaced(state, &mut actions),
        Event::TakenOver { revision, change } => reload::taken_over(state, revision, change, &mut actions),
        Event::ScaleTo { workers } => scale::to(state, workers, &mut actions),
        Event::SlotOpened { ok } => scale::opened(state, ok, now_ms, &mut actions),
        Event::Queue { slot, waiting } => {
            scale::queue(state, slot, waiting, now_ms);
            adopt::queue(state, slot, waiting);
        }
        Event::Stop => drain::stop(state, now_ms, &mut actions),
        Event::Drain => drain::asked(state, now_ms, &mut actions),
        Event::SpawnFailed { generation } => restart::died(state, generation, None, 0, now_ms, &mut actions),
        Event::Ready { generation } => ready(state, generation, now_ms),
        Event::Look => hang::look(state, now_ms),
        Event::Pulse { generation, heartbeat_ms, starved } => {
            hang::pulse(state, generation, heartbeat_ms, starved, now_ms, &mut actions);
        }
        Event::Usage { generation, age_ms, requests, rss_bytes } => {
            recycle::usage(state, generation, age_ms, requests, rss_bytes);
        }
        Event::Draining { generation } => leaves(state, generation, now_ms, &mut actions),
        Event::Drained { generation, forced } => drain::drained(state, generation, forced),
        Event::Fatal { generation, exit_code } => fatal(state, generation, exit_code, now_ms),
        Event::LinkLost { generation } => linger(state, generation, now_ms),
        Event::Exited { generation, code, lost } => {
            restart::died(state, generation, code, lost, now_ms, &mut actions);
        }
    }
    kill_overdue(state, now_ms, &mut actions);
    recycle::conclude(state, now_ms, &mut actions);
    succession::advance(state, now_ms, &mut actions);
    hang::advance(state, now_ms, &mut actions);
    rolling::advance(state, now_ms, &mut actions);
    reload::advance(state, now_ms, &mut actions);
    scale::advance(state, now_ms, &mut actions);
    recycle::advance(state, now_ms, &mut actions);
    spawn_due(state, now_ms, &mut actions);
    announce(state, now_ms, &mut actions);
    adopt::advance(state, now_ms, &mut actions);
    steer::steer(state, &mut actions);
    reload::keep(state, &mut actions);
    drain::advance(state, now_ms, &mut actions);
    actions
}

fn start(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    state.started_ms = now_ms;
    for slot in &mut state.slots {
        slot.state = SlotState::Backoff { until_ms: now_ms };
    }
    spawn_due(state, now_ms, actions);
}

fn ready(state: &mut State, generation: u64, now_ms: u64) {
    let Some(slot) = state.slot_of(generation) else { return };
    slot.ever_ready = true;
    if slot.process().is_none_or(|process| process.generation != generation) {
        succession::ready(slot, now_ms);
        return;
    }
    match &mut slot.state {
        SlotState::Starting(process) => {
            process.said_ready(now_ms);
            slot.state = SlotState::Live { process: *process, since_ms: now_ms };
        }
        // It was told to drain while it booted, and serves what it accepted meanwhile.
        SlotState::Draining(process) => process.said_ready(now_ms),
        SlotState::Live { .. } | SlotState::Empty | SlotState::Backoff { .. } | SlotState::Broken { .. } => {}
    }
}

/// A process drains. If nobody asked it to, somebody else sent it a signal: it accepts nothing more, so it is replaced at
/// once and gets the time of any drain.
fn leaves(state: &mut State, generation: u64, now_ms: u64, actions: &mut Vec<Action>) {
    let timeout_ms = state.policy.drain_timeout_ms;
    let Some(slot) = state.slot_of(generation) else { return };
    let post = slot.post;
    match (&mut slot.state, &mut slot.second) {
        (SlotState::Live { process, .. }, _) if process.generation == generation => {
            if matches!(slot.health, Health::Leaving { .. } | Health::Condemned) {
                return;
            }
            process.kill_by(now_ms + timeout_ms, KillReason::DrainDeadline);
            slot.health = Health::Leaving { alone: post == Post::Admin };
        }
        (_, Some(Second::Successor { process, .. })) if process.generation == generation => {
            let mut process = *process;
            process.overdue = None;
            process.kill_by(now_ms + timeout_ms, KillReason::DrainDeadline);
            slot.second = Some(Second::Leaving(process));
        }
        _ => return,
    }
    actions.push(Action::Tell(Notice::LeavesUnasked { post }));
}

fn fatal(state: &mut State, generation: u64, exit_code: u8, now_ms: u64) {
    if let Some(process) = state.process_of(generation) {
        process.fatal = Some(exit_code);
    }
    linger(state, generation, now_ms);
}

fn linger(state: &mut State, generation: u64, now_ms: u64) {
    if let Some(process) = state.process_of(generation) {
        process.kill_by(now_ms + LINGER_MS, KillReason::Lingering);
    }
}

fn kill_overdue(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    let mut cut = false;
    for process in state.slots.iter_mut().flat_map(Slot::processes_mut) {
        let Some((at_ms, reason)) = process.overdue else { continue };
        if at_ms <= now_ms {
            process.overdue = None;
            process.killed = Some(reason);
            cut |= reason == KillReason::DrainDeadline && process.was_ready;
            actions.push(Action::Kill { generation: process.generation, reason });
        }
    }
    if cut {
        drain::mark_forced(state);
    }
}

/// Starts processes whose delay is over.
fn spawn_due(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    for index in 0..state.slots.len() {
        let Some(slot) = state.slots.get_mut(index) else { continue };
        let due = match slot.state {
            SlotState::Backoff { until_ms } => until_ms <= now_ms,
            SlotState::Broken { retry_ms } if retry_ms <= now_ms => {
                slot.trial = true;
                actions.push(Action::Tell(Notice::Tried { post: slot.post }));
                true
            }
            SlotState::Broken { .. }
            | SlotState::Empty
            | SlotState::Starting(_)
            | SlotState::Live { .. }
            | SlotState::Draining(_) => false,
        };
        let revision = slot.revision;
        if due && let Some(process) = state.enrol(revision, now_ms) {
            let Some(slot) = state.slots.get_mut(index) else { continue };
            let (generation, seat) = (process.generation, process.seat);
            slot.settle(SlotState::Starting(process));
            actions.push(Action::Spawn { post: slot.post, generation, seat, revision, restart: slot.ever_started });
            slot.ever_started = true;
        }
    }
}

/// Starts a second process in a slot that has one.
fn start_successor(
    state: &mut State,
    index: usize,
    revision: u64,
    now_ms: u64,
    actions: &mut Vec<Action>,
) -> Option<u64> {
    let process = state.enrol(revision, now_ms)?;
    let slot = state.slots.get_mut(index)?;
    slot.second = Some(Second::Successor { process, ready_ms: None });
    let (generation, seat) = (process.generation, process.seat);
    actions.push(Action::Spawn { post: slot.post, generation, seat, revision, restart: true });
    Some(generation)
}

/// All workers, or one worker once the time to boot is over; always with the admin process.
fn announce(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    let workers = state.live_workers();
    let enough =
        workers == state.worker_slots() || workers > 0 && now_ms >= state.started_ms + state.policy.boot_timeout_ms;
    if !state.announced && enough && state.admin_is_live() && state.phase == Phase::Serving {
        state.announced = true;
        actions.push(Action::AnnounceReady { workers });
    }
}

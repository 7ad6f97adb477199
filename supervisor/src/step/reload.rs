//! Other settings, or another program, step by step: read and validated, then the workers, then the admin process, then what
//! can be taken over in place. What fails on the way is undone.
//!
//! A *revision* is a number for settings and the program that goes with them. Each process has one, each slot knows the one of
//! its next process, and `State::revision` is the one that is trusted: it changes when everything has succeeded.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::event::{Action, Change, Notice, Post, ReloadFailure, What};
use super::rolling::{self, Purpose};
use super::scale;
use super::state::{Phase, Process, SlotState, State};

/// What another program is given to read the settings and say that it can take over, in milliseconds.
pub(super) const CHECK_MS: u64 = 10_000;

/// How far settings, or a program, are on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reload {
    /// The settings are being read.
    Loading,
    /// Workers are replaced one by one.
    Workers(Way),
    /// The admin process is replaced.
    Admin(Way),
    /// Processes take over in place.
    Applying(Way),
    /// What was replaced goes back.
    Back(Way, ReloadFailure),
}

/// What is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Way {
    what: What,
    revision: u64,
    change: Change,
    /// Workers replaced for it.
    replaced: u16,
}

/// How far the way to another program is, before that has taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Upgrade {
    /// Something else has to end first.
    Wanted,
    /// The other program is tried.
    Checking { until_ms: u64 },
    /// It can take over, as soon as nothing else is under way.
    Checked,
    /// It is about to.
    Replacing,
}

impl Upgrade {
    /// Whether the other program is good and only waits for its turn.
    pub(super) fn is_sure(self) -> bool {
        matches!(self, Self::Checked | Self::Replacing)
    }

    /// When something is to be decided, in milliseconds.
    pub(super) fn deadline_ms(self) -> Option<u64> {
        match self {
            Self::Checking { until_ms } => Some(until_ms),
            Self::Wanted | Self::Checked | Self::Replacing => None,
        }
    }
}

impl Reload {
    fn way(self) -> Option<Way> {
        match self {
            Self::Loading => None,
            Self::Workers(way) | Self::Admin(way) | Self::Applying(way) | Self::Back(way, _) => Some(way),
        }
    }
}

/// Somebody asked to read the settings again. If something is under way, they are read after it: they may change until then.
pub(super) fn asked(state: &mut State, actions: &mut Vec<Action>) {
    if state.phase != Phase::Serving {
        actions.push(failure(What::Settings, 0, ReloadFailure::Stopping));
    } else if is_busy(state) {
        state.reload_wanted = true;
    } else {
        state.reload_wanted = false;
        state.reload = Some(Reload::Loading);
        actions.push(Action::Load);
    }
}

/// The settings were read and are good.
pub(super) fn loaded(state: &mut State, revision: u64, change: Change, actions: &mut Vec<Action>) {
    if state.reload == Some(Reload::Loading) {
        // What a worker has that could not be taken back, nobody compared with these.
        let change = Change { new_workers: change.new_workers || stragglers(state) > 0, ..change };
        begin(state, Way { what: What::Settings, revision, change, replaced: 0 }, actions);
    }
}

/// The settings cannot be had, or are the same. A process that works with others, because it could not be taken back, is
/// replaced now.
pub(super) fn not_loaded(state: &mut State, same: bool, actions: &mut Vec<Action>) {
    if state.reload != Some(Reload::Loading) {
        return;
    }
    let (revision, policy) = (state.revision, state.policy);
    if same && stragglers(state) > 0 {
        let change = Change { policy, workers: None, new_workers: true, new_admin: false };
        begin(state, Way { what: What::Settings, revision, change, replaced: 0 }, actions);
        return;
    }
    state.reload = None;
    actions.push(if same {
        Action::Tell(Notice::Unchanged)
    } else {
        failure(What::Settings, 0, ReloadFailure::Refused)
    });
}

/// Workers that stay and work with other settings, or another program, than those that are trusted.
fn stragglers(state: &State) -> u16 {
    let staying = state.workers().filter(|slot| {
        matches!(slot.state, SlotState::Live { process, .. } | SlotState::Starting(process)
            if process.revision != state.revision && process.killed.is_none())
    });
    staying.count() as u16
}

/// A process took settings over in place.
pub(super) fn applied(state: &mut State, generation: u64, revision: u64) {
    if let Some(process) = state.process_of(generation) {
        process.revision = revision;
    }
}

/// Somebody asked to go on with another program.
pub(super) fn upgrade(state: &mut State, actions: &mut Vec<Action>) {
    if state.phase != Phase::Serving {
        actions.push(failure(What::Program, 0, ReloadFailure::Stopping));
    } else if state.upgrade.is_none() && !brings_program(state) {
        state.upgrade = Some(Upgrade::Wanted);
    } else if state.upgrade != Some(Upgrade::Wanted) {
        // The one that was asked may be another than the one that is there now.
        state.upgrade_wanted = true;
    }
}

fn brings_program(state: &State) -> bool {
    state.reload.and_then(Reload::way).is_some_and(|way| way.what == What::Program)
}

/// The other program was tried.
pub(super) fn checked(state: &mut State, ok: bool, actions: &mut Vec<Action>) {
    if !matches!(state.upgrade, Some(Upgrade::Checking { .. })) {
        return;
    }
    state.upgrade = ok.then_some(Upgrade::Checked);
    if !ok {
        actions.push(failure(What::Program, 0, ReloadFailure::Refused));
    }
}

/// The other program could not be started.
pub(super) fn not_replaced(state: &mut State, actions: &mut Vec<Action>) {
    if state.upgrade.take_if(|upgrade| *upgrade == Upgrade::Replacing).is_some() {
        actions.push(failure(What::Program, 0, ReloadFailure::Refused));
    }
}

/// This is the other program.
pub(super) fn taken_over(state: &mut State, revision: u64, change: Change, actions: &mut Vec<Action>) {
    if state.upgrade.take().is_none() {
        // The instance stops, and that was told.
        return;
    }
    begin(state, Way { what: What::Program, revision, change, replaced: 0 }, actions);
}

fn begin(state: &mut State, way: Way, actions: &mut Vec<Action>) {
    if way.change.new_workers {
        let all = state.workers().map(|slot| slot.post).collect();
        rolling::begin(state, way.what.into(), way.revision, all, actions);
    }
    state.reload = Some(Reload::Workers(way));
}

/// So many workers were replaced.
pub(super) fn rolled(state: &mut State, workers: u16) {
    if let Some(Reload::Workers(way)) = &mut state.reload {
        way.replaced = workers;
    }
}

/// What is on its way turned out bad: what was replaced for it goes back to what was trusted before.
pub(super) fn failed(state: &mut State, replaced: u16, reason: ReloadFailure, actions: &mut Vec<Action>) {
    let Some(Reload::Workers(mut way) | Reload::Admin(mut way)) = state.reload else { return };
    way.replaced = way.replaced.max(replaced);
    let trusted = state.revision;
    let mut back = VecDeque::new();
    // To what was trusted all the time there is no way back.
    let changed = state.slots.iter_mut().filter(|_| way.revision != trusted);
    for slot in changed {
        let serves = matches!(slot.state, SlotState::Live { process, .. } | SlotState::Starting(process)
            if process.revision == way.revision);
        if serves && slot.post != Post::Admin {
            back.push_back(slot.post);
        }
        if slot.revision == way.revision {
            slot.revision = trusted;
        }
    }
    state.reload = Some(Reload::Back(way, reason));
    if !back.is_empty() {
        rolling::begin(state, Purpose::Rollback, trusted, back, actions);
    }
}

/// The admin process died. If it was the new one, and never ready, what it was started with is bad: that is undone, and `true`
/// returned, as its death says nothing about what was trusted before.
pub(super) fn admin_died(state: &mut State, process: Process, actions: &mut Vec<Action>) -> bool {
    match state.reload {
        Some(Reload::Admin(way)) if process.revision == way.revision && !process.was_ready => {
            failed(state, way.replaced, ReloadFailure::Died { post: Post::Admin }, actions);
            true
        }
        _ => false,
    }
}

/// The instance stops, and that comes first.
pub(super) fn abandon(state: &mut State, actions: &mut Vec<Action>) {
    let wanted = std::mem::take(&mut state.reload_wanted);
    let reload = state.reload.take();
    let upgraded = reload.and_then(Reload::way).is_some_and(|way| way.what == What::Program);
    if wanted || reload.is_some() && !upgraded {
        actions.push(failure(What::Settings, 0, ReloadFailure::Stopping));
    }
    let wanted = std::mem::take(&mut state.upgrade_wanted);
    let upgrade = state.upgrade.take();
    if matches!(upgrade, Some(Upgrade::Checking { .. })) {
        actions.push(Action::GiveCheckUp);
    }
    if upgrade.is_some() || upgraded || wanted {
        actions.push(failure(What::Program, 0, ReloadFailure::Stopping));
    }
}

/// Takes the next step, and begins what was asked for meanwhile.
pub(super) fn advance(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    if state.phase != Phase::Serving {
        return;
    }
    while let Some(next) = next_stage(state, now_ms, actions) {
        state.reload = next;
    }
    advance_upgrade(state, now_ms, actions);
    if state.reload_wanted && !is_busy(state) {
        asked(state, actions);
    }
    let sure = state.upgrade.is_some_and(Upgrade::is_sure);
    if state.restart_wanted && state.reload.is_none() && state.rolling.is_none() && !sure {
        rolling::asked(state, actions);
    }
}

/// The stage that follows, if the present one is over.
fn next_stage(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) -> Option<Option<Reload>> {
    match state.reload? {
        Reload::Loading => None,
        Reload::Workers(_) | Reload::Back(..) if state.rolling.is_some() => None,
        Reload::Workers(way) => {
            if way.change.new_admin {
                replace_admin(state, way.revision, now_ms, actions);
            }
            Some(Some(Reload::Admin(way)))
        }
        Reload::Admin(way) if way.change.new_admin && !admin_serves_with(state, way.revision) => None,
        Reload::Admin(way) => {
            apply(state, way.revision, actions);
            Some(Some(Reload::Applying(way)))
        }
        Reload::Applying(way) => {
            if listening(state).any(|process| process.revision != way.revision) {
                return None;
            }
            succeed(state, way, actions);
            Some(None)
        }
        Reload::Back(way, reason) => {
            state.reload = None;
            keep(state, actions);
            let stragglers = stragglers(state);
            actions.push(Action::Tell(Notice::ReloadFailed {
                what: way.what,
                replaced: way.replaced,
                stragglers,
                reason,
            }));
            Some(None)
        }
    }
}

/// The admin process is alone in its post: it leaves first, then the new one starts on the socket that waits.
fn replace_admin(state: &mut State, revision: u64, now_ms: u64, actions: &mut Vec<Action>) {
    for slot in state.slots.iter_mut().filter(|slot| slot.post == Post::Admin) {
        slot.revision = revision;
        match slot.state {
            SlotState::Starting(mut process) | SlotState::Live { mut process, .. } => {
                process.dismiss(super::drain::ADMIN_DRAIN_MS, now_ms, actions);
                slot.settle(SlotState::Draining(process));
            }
            SlotState::Backoff { .. } | SlotState::Broken { .. } => {
                slot.early_deaths.clear();
                slot.state = SlotState::Backoff { until_ms: now_ms };
            }
            SlotState::Draining(_) | SlotState::Empty => {}
        }
    }
}

fn admin_serves_with(state: &State, revision: u64) -> bool {
    state.slots.iter().any(|slot| {
        slot.post == Post::Admin
            && matches!(slot.state, SlotState::Live { process, .. } if process.revision == revision)
    })
}

/// Tells every process that serves and has other settings, also if it leaves: a token that is taken back is good nowhere.
fn apply(state: &mut State, revision: u64, actions: &mut Vec<Action>) {
    let behind: Vec<u64> =
        listening(state).filter(|process| process.revision != revision).map(|process| process.generation).collect();
    actions.extend(behind.into_iter().map(|generation| Action::Apply { generation, revision }));
    state.slots.iter_mut().for_each(|slot| slot.revision = revision);
}

/// Processes that listen to what they are told: all but those that are about to be ended, and an admin process that leaves.
fn listening(state: &State) -> impl Iterator<Item = Process> + '_ {
    state.slots.iter().flat_map(|slot| {
        let leaves = slot.post == Post::Admin && matches!(slot.state, SlotState::Draining(_));
        slot.processes()
            .filter(move |process| !leaves && process.killed.is_none() && !process.aborted && !process.drained)
    })
}

fn succeed(state: &mut State, way: Way, actions: &mut Vec<Action>) {
    state.revision = way.revision;
    state.policy = state.policy.retimed(way.change.policy);
    let workers = way.change.workers.filter(|workers| *workers != state.target);
    // What is given up is closed before anybody is told that it is.
    state.reload = None;
    keep(state, actions);
    actions.push(Action::Tell(Notice::Reloaded { what: way.what, replaced: way.replaced, workers }));
    if let Some(workers) = workers {
        scale::to(state, workers, actions);
    }
}

fn advance_upgrade(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    let idle = state.reload.is_none() && state.rolling.is_none();
    match state.upgrade {
        Some(Upgrade::Wanted) if idle => {
            state.upgrade = Some(Upgrade::Checking { until_ms: now_ms + CHECK_MS });
            actions.push(Action::Check);
        }
        Some(Upgrade::Checking { until_ms }) if until_ms <= now_ms => {
            state.upgrade = None;
            actions.push(Action::GiveCheckUp);
            actions.push(failure(What::Program, 0, ReloadFailure::Refused));
        }
        Some(Upgrade::Checked) if idle => {
            scale::give_way(state);
            if state.closing.is_none() && !state.opening {
                state.upgrade = Some(Upgrade::Replacing);
                actions.push(Action::Replace);
            }
        }
        None if state.upgrade_wanted && idle => {
            state.upgrade_wanted = false;
            state.upgrade = Some(Upgrade::Wanted);
            advance_upgrade(state, now_ms, actions);
        }
        Some(Upgrade::Wanted | Upgrade::Checking { .. } | Upgrade::Checked | Upgrade::Replacing) | None => {}
    }
}

/// Tells which revisions are in use, whenever that changes.
pub(super) fn keep(state: &mut State, actions: &mut Vec<Action>) {
    let of_slots = state.slots.iter().map(|slot| slot.revision);
    let of_processes = state.slots.iter().flat_map(super::state::Slot::processes).map(|process| process.revision);
    let on_its_way = state.reload.and_then(Reload::way).map(|way| way.revision);
    let used: BTreeSet<u64> =
        [state.revision].into_iter().chain(of_slots).chain(of_processes).chain(on_its_way).collect();
    if used != state.kept {
        actions.push(Action::Keep { revisions: used.iter().copied().collect() });
        state.kept = used;
    }
}

fn is_busy(state: &State) -> bool {
    state.reload.is_some() || state.rolling.is_some() || state.upgrade.is_some()
}

fn failure(what: What, replaced: u16, reason: ReloadFailure) -> Action {
    Action::Tell(Notice::ReloadFailed { what, replaced, stragglers: 0, reason })
}

//! Deaths: who is replaced at once, who waits, whose breaker opens.

use super::event::{Action, KillReason, Notice, Post};
use super::state::{Phase, Second, Slot, SlotState, State};
use super::{drain, reload, rolling, succession};
use crate::Exit;

/// A death before ready, or within this time after it, is early: it counts for back-off and breaker. In milliseconds.
pub(super) const EARLY_MS: u64 = 1_000;
/// Early deaths older than this are forgotten, in milliseconds.
const WINDOW_MS: u64 = 60_000;
/// From the opening of a breaker to its next try, in milliseconds.
const RETRY_MS: u64 = 30_000;
/// The longest a slot waits when it was the last to serve, in milliseconds.
const LAST_LIVE_DELAY_MS: u64 = 100;
/// Jitter of delays, in percent.
const JITTER_PERCENT: u64 = 20;
/// Exit code for settings a process cannot work with; trying again does not help.
const EXIT_CONFIG: i32 = 78;

// A late death is replaced at once, and that is at most twice a second for each slot because of this.
const _: () = assert!(EARLY_MS >= 500);

/// A try that has served for a while closes its breaker.
pub(super) fn close_breakers(state: &mut State, now_ms: u64) {
    for slot in &mut state.slots {
        let served = |since_ms: u64| now_ms.saturating_sub(since_ms) >= EARLY_MS;
        slot.trial &= !matches!(slot.state, SlotState::Live { since_ms, .. } if served(since_ms));
    }
}

/// Takes a death into account and decides about the successor.
pub(super) fn died(
    state: &mut State,
    generation: u64,
    code: Option<i32>,
    lost: u64,
    now_ms: u64,
    actions: &mut Vec<Action>,
) {
    rolling::died(state, generation, actions);
    let phase = state.phase;
    let Some(slot) = state.slot_of(generation) else { return };
    let Some(process) = slot.processes().find(|process| process.generation == generation) else { return };
    let (post, before) = (slot.post, slot.state);
    slot.last_code = code.or(process.fatal.map(i32::from));
    let last_code = slot.last_code;
    let second = slot.second;
    let was_second = slot.process() != Some(process);
    if was_second {
        slot.second = None;
    } else {
        slot.settle(SlotState::Empty);
    }
    state.free_seats.insert(process.seat);
    match phase {
        Phase::Serving => {}
        Phase::Draining { .. } => {
            // One that was ended by a signal cannot say what it cut: requests it had not read are counted nowhere.
            let cut_off = post != Post::Admin
                && process.was_ready
                && code.is_none()
                && process.killed != Some(KillReason::SecondSignal);
            if lost > 0 || cut_off || last_code == Some(i32::from(Exit::Forced.code())) {
                drain::mark_forced(state);
            }
            return;
        }
        Phase::Done => return,
    }
    let was_told = matches!(before, SlotState::Draining(_)) && !was_second;
    // The admin process was told to leave for a new one; a worker because its slot is being closed.
    if post == Post::Admin && (was_told || reload::admin_died(state, process, actions)) {
        if let Some(slot) = slot_at(state, post) {
            slot.state = SlotState::Backoff { until_ms: now_ms };
        }
        return;
    }
    if was_told {
        return;
    }
    if was_second {
        if let (Some(slot), Some(second)) = (slot_at(state, post), second) {
            succession::second_died(slot, second, actions);
        }
        return;
    }
    let early = match before {
        SlotState::Starting(_) => true,
        SlotState::Live { since_ms, .. } => {
            if post != Post::Admin && state.live_workers() == 0 {
                state.last_live = Some(post);
            }
            now_ms.saturating_sub(since_ms) < EARLY_MS
        }
        SlotState::Draining(_) | SlotState::Empty | SlotState::Backoff { .. } | SlotState::Broken { .. } => false,
    };
    if let Some(Second::Successor { process, ready_ms }) = second {
        if let Some(slot) = slot_at(state, post) {
            succession::move_up(slot, process, ready_ms);
        }
        actions.push(Action::Tell(Notice::Replaced { post }));
        return;
    }
    if !early {
        if let Some(slot) = slot_at(state, post) {
            slot.state = SlotState::Backoff { until_ms: now_ms };
        }
        actions.push(Action::Tell(Notice::Replaced { post }));
        return;
    }
    let hopeless = !process.was_ready
        && (last_code == Some(EXIT_CONFIG)
            || process.killed == Some(KillReason::BootTimeout) && !kind_was_ready(state, post));
    after_early_death(state, post, hopeless, now_ms, actions);
}

fn after_early_death(state: &mut State, post: Post, hopeless: bool, now_ms: u64, actions: &mut Vec<Action>) {
    let policy = state.policy;
    let is_last_live = state.last_live == Some(post) && state.live_workers() == 0;
    let random = state.next_random();
    let Some(slot) = slot_at(state, post) else { return };
    slot.early_deaths.push_back(now_ms);
    while slot.early_deaths.len() > policy.restart_limit.max(1) as usize
        || slot.early_deaths.front().is_some_and(|at_ms| now_ms.saturating_sub(*at_ms) >= WINDOW_MS)
    {
        slot.early_deaths.pop_front();
    }
    let early_deaths = slot.early_deaths.len() as u32;
    if !is_last_live && (hopeless || slot.trial || early_deaths >= policy.restart_limit) {
        slot.trial = false;
        slot.state = SlotState::Broken { retry_ms: now_ms + RETRY_MS };
        actions.push(Action::Tell(Notice::Broken { post, retry_ms: RETRY_MS }));
        give_up_if_hopeless(state, post, now_ms, actions);
        return;
    }
    let doubled = policy.restart_delay_ms.saturating_mul(1 << (early_deaths - 1).min(20));
    let percent = 100 - JITTER_PERCENT + random % (2 * JITTER_PERCENT + 1);
    let mut delay_ms = doubled.min(policy.restart_delay_max_ms).saturating_mul(percent) / 100;
    if is_last_live {
        delay_ms = delay_ms.min(LAST_LIVE_DELAY_MS);
    }
    slot.state = SlotState::Backoff { until_ms: now_ms + delay_ms };
    actions.push(Action::Tell(Notice::BackedOff { post, delay_ms, early_deaths }));
}

/// No worker, or no admin process, was ever ready and all their breakers are open: the service manager shall know.
fn give_up_if_hopeless(state: &mut State, post: Post, now_ms: u64, actions: &mut Vec<Action>) {
    let mut kind = state.slots.iter().filter(|slot| same_kind(slot.post, post));
    if kind_was_ready(state, post) || !kind.clone().all(|slot| matches!(slot.state, SlotState::Broken { .. })) {
        return;
    }
    let exit = if kind.all(|slot| slot.last_code == Some(EXIT_CONFIG)) { Exit::Config } else { Exit::Bug };
    actions.push(Action::Tell(Notice::GaveUp { exit }));
    drain::begin(state, exit, now_ms, actions);
}

fn kind_was_ready(state: &State, post: Post) -> bool {
    state.slots.iter().any(|slot| same_kind(slot.post, post) && slot.ever_ready)
}

fn same_kind(one: Post, other: Post) -> bool {
    (one == Post::Admin) == (other == Post::Admin)
}

fn slot_at(state: &mut State, post: Post) -> Option<&mut Slot> {
    state.slots.iter_mut().find(|slot| slot.post == post)
}

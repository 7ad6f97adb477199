//! Recycling: a worker that is old, has served many requests or has grown is replaced before anybody notices. Its successor is
//! ready on the same sockets before it drains, as in a rolling restart of one slot. One slot at a time in the whole instance,
//! and only while everything else is well: recycling is never the reason that less is served.

use serde::{Deserialize, Serialize};

use super::event::{Action, Notice, Post};
use super::restart::EARLY_MS;
use super::state::{Health, Phase, Second, Slot, SlotState, State};

/// So many samples of the resident memory in a row have to be over the limit.
const SAMPLES: u8 = 3;
/// Each process's limits are lowered by up to this share, in thousandths, so that workers that started together do not all
/// wait for each other.
const JITTER_PERMILLE: u64 = 100;
/// After a successor that failed, nobody is recycled for so long, in milliseconds.
const RETRY_MS: u64 = 30_000;

/// What a worker may reach before it is recycled; 0 = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Since its start, in milliseconds.
    pub(crate) age_ms: u64,
    /// Requests accepted.
    pub(crate) requests: u64,
    /// Resident memory, in bytes.
    pub(crate) rss_bytes: u64,
}

impl Limits {
    /// Whether there is any.
    pub(crate) fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// Why a worker is recycled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reason {
    /// It is as old as it may become.
    Age,
    /// It has accepted as many requests as it may.
    Requests,
    /// It holds more memory than it may.
    Memory,
}

/// How worn the process of a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Wear {
    /// How much its limits are lowered, in thousandths; drawn at its first sample.
    lowered_permille: Option<u64>,
    /// Samples in a row that were over the limit of memory.
    over_memory: u8,
    /// It is to be recycled.
    due: Option<Reason>,
}

/// The recycling under way, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Recycling {
    current: Option<Current>,
    /// Nobody is recycled before, in milliseconds.
    not_before_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Current {
    post: Post,
    /// Generation of the successor.
    new: u64,
    reason: Reason,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    UnderWay,
    Done,
    /// The successor is gone, or is not wanted any more.
    Failed,
}

/// What a worker has reached. Memory that could not be read is not over any limit.
pub(super) fn usage(state: &mut State, generation: u64, age_ms: u64, requests: u64, rss_bytes: Option<u64>) {
    let limits = state.policy.recycle;
    let drawn = state.next_random() % (JITTER_PERMILLE + 1);
    let serves = |slot: &&mut Slot| {
        slot.post != Post::Admin
            && matches!(slot.state, SlotState::Live { process, .. } if process.generation == generation)
    };
    let Some(slot) = state.slots.iter_mut().find(serves) else { return };
    let wear = &mut slot.wear;
    let lowered = *wear.lowered_permille.get_or_insert(drawn);
    let reached = |found: u64, limit: u64| limit > 0 && found >= limit - limit.saturating_mul(lowered) / 1000;
    let over = rss_bytes.is_some_and(|bytes| reached(bytes, limits.rss_bytes));
    wear.over_memory = if over { wear.over_memory.saturating_add(1) } else { 0 };
    wear.due = if reached(age_ms, limits.age_ms) {
        Some(Reason::Age)
    } else if reached(requests, limits.requests) {
        Some(Reason::Requests)
    } else if wear.over_memory >= SAMPLES {
        Some(Reason::Memory)
    } else {
        None
    };
}

/// Whether a worker is being recycled; nothing else is replaced meanwhile. Asked after [`conclude`].
pub(super) fn is_under_way(state: &State) -> bool {
    state.recycling.current.is_some()
}

fn progress(state: &State, current: Current) -> Progress {
    let Some(slot) = state.slots.iter().find(|slot| slot.post == current.post) else { return Progress::Failed };
    if matches!(slot.second, Some(Second::Successor { process, .. }) if process.generation == current.new) {
        return Progress::UnderWay;
    }
    match (slot.state, slot.second) {
        (SlotState::Live { process, .. }, second) if process.generation == current.new => {
            if matches!(second, Some(Second::Leaving(_))) { Progress::UnderWay } else { Progress::Done }
        }
        // The old process died by itself, and its successor boots as any other does.
        (SlotState::Starting(process), _) if process.generation == current.new => Progress::Done,
        _ => Progress::Failed,
    }
}

/// Takes leave of a recycling that is over, before anybody asks whether one is under way.
pub(super) fn conclude(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    let Some(current) = state.recycling.current else { return };
    match progress(state, current) {
        Progress::UnderWay => return,
        Progress::Done => actions.push(Action::Tell(Notice::Recycled { post: current.post, reason: current.reason })),
        Progress::Failed => state.recycling.not_before_ms = now_ms + RETRY_MS,
    }
    state.recycling.current = None;
}

/// Begins to recycle a worker that is due, if there is nothing else to do.
pub(super) fn advance(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    if !is_allowed(state, now_ms) {
        return;
    }
    let due = |slot: &Slot| Some((slot.post, slot.revision, slot.wear.due?));
    let found = state.slots.iter().enumerate().find_map(|(index, slot)| Some((index, due(slot)?)));
    let Some((index, (post, revision, reason))) = found else { return };
    actions.push(Action::Tell(Notice::RecycleBegun { post, reason }));
    let new = super::start_successor(state, index, revision, now_ms, actions);
    state.recycling.current = new.map(|new| Current { post, new, reason });
}

/// Whether the instance is as it should be: every process has served for a while, and nothing is being changed.
fn is_allowed(state: &State, now_ms: u64) -> bool {
    let changes = is_under_way(state)
        || state.rolling.is_some()
        || state.reload.is_some()
        || state.upgrade.is_some()
        || state.closing.is_some()
        || state.opening
        || state.target != state.worker_slots();
    state.policy.recycle.is_any()
        && state.phase == Phase::Serving
        && state.recycling.not_before_ms <= now_ms
        && !changes
        && state.slots.iter().all(|slot| is_well(slot, now_ms))
}

fn is_well(slot: &Slot, now_ms: u64) -> bool {
    let SlotState::Live { process, since_ms } = slot.state else { return false };
    let stays = process.killed.is_none() && process.overdue.is_none() && process.fatal.is_none();
    stays && slot.health == Health::Sound && slot.second.is_none() && now_ms.saturating_sub(since_ms) >= EARLY_MS
}

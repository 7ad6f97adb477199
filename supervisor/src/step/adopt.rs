//! Queues that nobody accepts from: what waits in them would wait for the next worker of the slot, which may take a while, so a
//! sound sibling is told to accept it.

use super::event::{Action, Post};
use super::state::{Health, Phase, Second, Slot, SlotState, State};

/// A queue that is not served for longer than this is adopted, in milliseconds: with the look that finds it, nothing waits longer
/// than 250 ms. A worker that was replaced serves earlier.
pub(super) const UNSERVED_MS: u64 = 200;
/// A slot whose next process is started later than this is not waited for, in milliseconds.
pub(super) const SOON_MS: u64 = 250;
/// A slot is adopted at most this often, in milliseconds: whoever was told needs a moment to accept.
pub(super) const AGAIN_MS: u64 = 50;

impl State {
    /// The slots whose queues are to be looked at: the one that is to be closed, and those that would be adopted.
    pub(crate) fn queues(&self, now_ms: u64) -> Vec<u16> {
        let emptying = self.emptying();
        let wanted = |slot: &&Slot| {
            Some(slot.post) == emptying.map(Post::Worker) || self.phase == Phase::Serving && is_due(slot, now_ms)
        };
        self.workers().filter(wanted).filter_map(|slot| slot.post.slot()).collect()
    }
}

/// So many connections wait in the queues of a slot.
pub(super) fn queue(state: &mut State, slot: u16, waiting: u32) {
    if let Some(slot) = state.slots.iter_mut().find(|one| one.post == Post::Worker(slot)) {
        slot.waiting = waiting;
    }
}

/// Notes since when nobody accepts from each slot, and gives away the queues in which something waits. After all other decisions,
/// so that whoever adopts does not leave at the same time.
pub(super) fn advance(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    let serving = state.phase == Phase::Serving;
    for index in 0..state.slots.len() {
        let Some(slot) = state.slots.get_mut(index) else { continue };
        let Post::Worker(number) = slot.post else { continue };
        slot.unserved_ms = if is_served(slot) { None } else { slot.unserved_ms.or(Some(now_ms)) };
        // What was told is true for this moment only.
        let waits = std::mem::take(&mut slot.waiting) > 0;
        let again = slot.adopted_ms.is_none_or(|at_ms| at_ms + AGAIN_MS <= now_ms);
        if !(serving && waits && again && is_due(slot, now_ms)) {
            continue;
        }
        let Some((by, generation)) = adopter(state, number) else { continue };
        state.last_adopter = by;
        if let Some(slot) = state.slots.get_mut(index) {
            slot.adopted_ms = Some(now_ms);
        }
        actions.push(Action::Adopt { slot: number, by: generation });
    }
}

/// The next sound worker after the one that was told last: its slot and its generation.
fn adopter(state: &State, orphan: u16) -> Option<(u16, u64)> {
    let closing = state.closing.map(|_| state.worker_slots() - 1);
    let sound = |slot: &Slot| match (slot.post, slot.state, slot.health) {
        (Post::Worker(number), SlotState::Live { process, .. }, Health::Sound)
            if number != orphan && Some(number) != closing && process.overdue.is_none() && process.killed.is_none() =>
        {
            Some((number, process.generation))
        }
        _ => None,
    };
    let mut all = state.workers().filter_map(sound);
    let first = all.next();
    first.into_iter().chain(all).find(|(number, _)| *number > state.last_adopter).or(first)
}

/// Whether somebody accepts from the slot.
fn is_served(slot: &Slot) -> bool {
    let sound = matches!(slot.state, SlotState::Live { .. }) && slot.health == Health::Sound;
    sound || matches!(slot.second, Some(Second::Successor { ready_ms: Some(_), .. }))
}

/// Whether what waits there has waited, or would wait, for too long.
fn is_due(slot: &Slot, now_ms: u64) -> bool {
    let Some(since_ms) = slot.unserved_ms else { return false };
    let lasts = match (slot.state, slot.health) {
        (SlotState::Backoff { until_ms } | SlotState::Broken { retry_ms: until_ms }, _) => until_ms > now_ms + SOON_MS,
        // Its heartbeat was missed for longer than a look takes; it may have waited all that time.
        (SlotState::Live { .. }, Health::Parked | Health::Hung { .. } | Health::Condemned) => true,
        _ => false,
    };
    lasts || since_ms + UNSERVED_MS <= now_ms
}

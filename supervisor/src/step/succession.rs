//! A second process in a slot: the successor takes over when it is ready, on the same sockets; the old one leaves.

use super::event::{Action, Notice};
use super::state::{Health, Process, Second, Slot, SlotState, State};
use super::{hang, rolling};

/// A successor said ready. Whether it takes over at once, [`advance`] decides.
pub(super) fn ready(slot: &mut Slot, now_ms: u64) {
    match &mut slot.second {
        Some(Second::Successor { process, ready_ms }) => {
            process.said_ready(now_ms);
            ready_ms.get_or_insert(now_ms);
        }
        Some(Second::Leaving(process)) => process.said_ready(now_ms),
        None => {}
    }
}

/// Lets successors that are ready take over.
pub(super) fn advance(state: &mut State, now_ms: u64, actions: &mut Vec<Action>) {
    let drain_timeout_ms = state.policy.drain_timeout_ms;
    for index in 0..state.slots.len() {
        let Some(slot) = state.slots.get(index) else { continue };
        let Some(second) = slot.second else { continue };
        // A canary is spared the wait when the old one does not serve.
        let waits = matches!(slot.health, Health::Sound | Health::Parked);
        let Some(at_ms) = rolling::takes_over_ms(state, &second) else { continue };
        let Second::Successor { process: new, .. } = second else { continue };
        let Some(slot) = state.slots.get_mut(index).filter(|_| !waits || at_ms <= now_ms) else { continue };
        let SlotState::Live { process: mut old, .. } = slot.state else { continue };
        slot.second = Some(Second::Leaving(old));
        match slot.health {
            Health::Hung { .. } => {
                hang::abort(&mut old, now_ms, actions);
                slot.second = Some(Second::Leaving(old));
            }
            Health::Condemned | Health::Leaving { .. } => {}
            Health::Sound | Health::Parked => slot.dismiss_second(drain_timeout_ms, now_ms, actions),
        }
        slot.settle(SlotState::Live { process: new, since_ms: now_ms });
        slot.trial = false;
        slot.revision = new.revision;
        actions.push(Action::Tell(Notice::Succeeded { post: slot.post }));
    }
}

/// The slot's process died beside its successor, which moves up.
pub(super) fn move_up(slot: &mut Slot, successor: Process, ready_ms: Option<u64>) {
    slot.second = None;
    slot.revision = successor.revision;
    slot.settle(match ready_ms {
        Some(since_ms) => SlotState::Live { process: successor, since_ms },
        None => SlotState::Starting(successor),
    });
}

/// The second process of a slot died.
pub(super) fn second_died(slot: &mut Slot, second: Second, actions: &mut Vec<Action>) {
    if let Second::Successor { .. } = second {
        // One successor is tried; the old process ends at its time, and then the restart policy applies.
        if let Health::Hung { alone, .. } | Health::Leaving { alone } = &mut slot.health {
            *alone = true;
        }
        actions.push(Action::Tell(Notice::SuccessorFailed { post: slot.post }));
    }
}

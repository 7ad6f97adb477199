//! Which slots get new connections: those whose worker serves, or all of them if none does.

use super::event::{Action, Post};
use super::state::{Phase, Slot, SlotState, State};

/// Says so whenever the choice changes. During a drain of the instance the last choice stays.
pub(super) fn steer(state: &mut State, actions: &mut Vec<Action>) {
    if state.phase != Phase::Serving {
        return;
    }
    let serving: Vec<u16> = state.slots.iter().filter(|slot| serves(slot)).filter_map(number).collect();
    let open = if serving.is_empty() { state.slots.iter().filter_map(number).collect() } else { serving };
    if open != state.steered {
        state.steered.clone_from(&open);
        actions.push(Action::Steer { open });
    }
}

fn serves(slot: &Slot) -> bool {
    matches!(slot.state, SlotState::Live { .. })
}

fn number(slot: &Slot) -> Option<u16> {
    match slot.post {
        Post::Worker(number) => Some(number),
        Post::Admin => None,
    }
}

//! Which slots get new connections.

use super::event::{Action, Post};
use super::state::{Health, Phase, Slot, SlotState, State};

/// Slots whose worker serves; if there are none, those whose worker is silent at the moment; if there are none either, one that
/// is about to be closed; and at last all: whoever is replaced first finds its share. Says so whenever the choice changes.
/// During a drain of the instance, those whose worker has not left yet; at the end of it the last choice stays.
pub(super) fn steer(state: &mut State, actions: &mut Vec<Action>) {
    if state.phase != Phase::Serving {
        let accepts =
            |slot: &&Slot| matches!(slot.state, SlotState::Draining(process) if process.was_ready && !process.drained);
        let open: Vec<(u16, u64)> = state.slots.iter().filter(accepts).filter_map(target).collect();
        if !open.is_empty() {
            choose(state, open, actions);
        }
        return;
    }
    let closing = state.closing.map(|_| state.worker_slots() - 1);
    let stays = |slot: &Slot| number(slot) != closing;
    let choices: [&dyn Fn(&Slot) -> bool; 4] = [
        &|slot| stays(slot) && is_live(slot) && slot.health == Health::Sound,
        &|slot| stays(slot) && is_live(slot),
        &is_live,
        &stays,
    ];
    let chosen =
        |choice: &dyn Fn(&Slot) -> bool| state.slots.iter().filter(|slot| choice(slot)).filter_map(target).collect();
    let open = choices.into_iter().map(chosen).find(|open: &Vec<(u16, u64)>| !open.is_empty()).unwrap_or_default();
    choose(state, open, actions);
}

fn choose(state: &mut State, open: Vec<(u16, u64)>, actions: &mut Vec<Action>) {
    if open != state.steered {
        state.steered.clone_from(&open);
        actions.push(Action::Steer { open });
    }
}

fn is_live(slot: &Slot) -> bool {
    let accepts = !matches!(slot.health, Health::Condemned | Health::Leaving { .. });
    slot.post != Post::Admin && matches!(slot.state, SlotState::Live { .. }) && accepts
}

/// The slot with the settings its worker listens by; without a worker, those of the next one.
fn target(slot: &Slot) -> Option<(u16, u64)> {
    Some((number(slot)?, slot.process().map_or(slot.revision, |process| process.revision)))
}

fn number(slot: &Slot) -> Option<u16> {
    match slot.post {
        Post::Worker(number) => Some(number),
        Post::Admin => None,
    }
}

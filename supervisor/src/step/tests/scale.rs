//! More and fewer slots.

use super::super::scale::EMPTY_MS;
use super::*;

impl Bench {
    fn queue(&mut self, waiting: u32) -> Vec<Action> {
        let slot = self.state.worker_slots() - 1;
        self.event(Event::Queue { slot, waiting })
    }

    fn scale_to(&mut self, workers: u16) -> Vec<Action> {
        let mut actions = self.event(Event::ScaleTo { workers });
        actions.retain(|action| !matches!(action, Action::Tell(_)));
        actions
    }
}

fn is_drained(actions: &[Action], generation: u64) -> bool {
    matches!(actions, [Action::Drain { generation: told, .. }] if *told == generation)
}

const SCALED_1: Action = Action::Tell(Notice::Scaled { workers: 1 });

#[test]
fn a_further_slot_gets_connections_when_its_worker_is_ready() {
    let mut bench = Bench::serving(Policy { workers: 1, ..POLICY });
    assert_eq!(bench.scale_to(3), [Action::OpenSlot { slot: 1 }], "one by one");
    let actions = bench.event(Event::SlotOpened { ok: true });
    assert_eq!(spawns(&actions), [(Post::Worker(1), 3)]);
    assert!(actions.contains(&Action::OpenSlot { slot: 2 }));
    assert_eq!(bench.steered, [0], "told again: the kernel would take the new socket in");
    bench.event(Event::SlotOpened { ok: true });
    assert_eq!(bench.ready(3), [], "one is still to come");
    assert_eq!(bench.ready(4), [Action::Tell(Notice::Scaled { workers: 3 })]);
    assert_eq!(bench.steered, [0, 1, 2]);
}

#[test]
fn a_new_worker_that_cannot_start_is_told_and_the_slot_stays() {
    let mut bench = Bench::serving(POLICY);
    bench.scale_to(3);
    let new = spawns(&bench.event(Event::SlotOpened { ok: true }))[0].1;
    let reason = ScaleFailure::Broken { post: Post::Worker(2) };
    let failed = Action::Tell(Notice::ScaleFailed { asked: 3, workers: 3, reason });
    assert!(bench.exits(new, 78).contains(&failed));
    let actions = bench.event(Event::ScaleTo { workers: 3 });
    assert!(actions.contains(&failed), "asked again: {actions:?}");
    assert_eq!(spawns(&bench.after(30_000)).len(), 1);
}

#[test]
fn a_slot_that_cannot_be_opened_is_not_tried_again() {
    let mut bench = Bench::serving(POLICY);
    bench.scale_to(4);
    let actions = bench.event(Event::SlotOpened { ok: false });
    assert_eq!(actions, [Action::Tell(Notice::ScaleFailed { asked: 4, workers: 2, reason: ScaleFailure::NotOpened })]);
    assert_eq!(bench.after(60_000), []);
    assert_eq!(bench.scale_to(3).len(), 1, "unless it is asked for again");
}

#[test]
fn the_highest_slot_is_emptied_then_drained_then_closed() {
    let mut bench = Bench::serving(POLICY);
    assert_eq!(bench.scale_to(1), []);
    assert_eq!((bench.steered.as_slice(), bench.state.emptying()), ([0].as_slice(), Some(1)));
    assert_eq!(bench.queue(2), []);
    assert_eq!(bench.after(1_000), [], "its worker accepts what waits");
    assert_eq!(bench.queue(0), []);
    assert_eq!(bench.after(EMPTY_MS - 1), []);
    assert!(is_drained(&bench.after(1), 2));
    assert_eq!(bench.state.emptying(), None);
    assert_eq!(bench.exits(2, 0), [Action::CloseSlot { slot: 1 }, SCALED_1]);
    assert_eq!(bench.after(60_000), [], "nobody is started in its place");
    bench.event(Event::Stop);
    bench.exits(1, 0);
    assert_eq!(exit_of(&bench.exits(3, 0)), Some(Exit::Clean));
}

#[test]
fn a_queue_that_fills_again_starts_the_wait_anew_and_never_empty_has_an_end() {
    let mut bench = Bench::serving(POLICY);
    bench.scale_to(1);
    bench.queue(0);
    bench.after(EMPTY_MS - 1);
    bench.queue(1);
    assert_eq!(bench.after(EMPTY_MS), []);
    assert_eq!(bench.after(9_000), []);
    assert!(is_drained(&bench.after(1_000), 2), "the drain timeout");
}

#[test]
fn a_request_for_more_takes_a_slot_back_that_is_being_emptied() {
    let mut bench = Bench::serving(POLICY);
    bench.scale_to(1);
    assert_eq!(bench.scale_to(2), []);
    assert_eq!(bench.steered, [0, 1]);
    assert_eq!(bench.after(60_000), []);
}

#[test]
fn the_last_slot_that_serves_is_never_closed() {
    let mut bench = Bench::serving(POLICY);
    assert_eq!(bench.scale_to(0), [], "at least one");
    assert_eq!(bench.state.target(), 1);
    let young = spawns(&bench.exits(1, 70))[0].1;
    assert_eq!(bench.steered, [1], "better than a slot without a worker");
    bench.queue(0);
    assert_eq!(bench.after(20_000), []);
    assert!(bench.state.next_deadline_ms().is_none_or(|due_ms| due_ms > bench.now_ms), "it would spin");
    let actions = bench.ready(young);
    assert!(is_drained(&actions, 2), "{actions:?}");
}

#[test]
fn a_restart_does_not_wait_for_a_slot_that_cannot_be_closed() {
    let mut bench = Bench::serving(POLICY);
    let young = spawns(&bench.exits(1, 70))[0].1;
    bench.exits(young, 78);
    bench.scale_to(1);
    bench.after(10_000);
    assert_eq!(spawns(&bench.event(Event::Restart)), [(Post::Worker(1), 5)]);
    bench.ready(5);
    bench.after(EARLY_MS);
    let actions = bench.exits(2, 0);
    assert!(
        actions.contains(&Action::Tell(Notice::Restarted { purpose: Purpose::Restart, workers: 1 })),
        "{actions:?}"
    );
    assert_eq!(bench.state.emptying(), Some(1), "the smaller number is not forgotten");
}

#[test]
fn asked_for_the_impossible_the_bounds_hold() {
    let mut bench = Bench::serving(POLICY);
    bench.event(Event::ScaleTo { workers: u16::MAX });
    assert_eq!(bench.state.target(), POLICY.slots_max());
    assert_eq!((POLICY.slots_max(), POLICY.seats()), (32, 67));
    assert_eq!(Policy { workers: MAX_SLOTS, ..POLICY }.seats(), 515, "within the scoreboard's limit");
}

#[test]
fn a_restart_and_a_smaller_number_wait_for_each_other() {
    let mut bench = Bench::serving(POLICY);
    bench.event(Event::Restart);
    assert_eq!(bench.scale_to(1), []);
    assert_eq!(bench.state.emptying(), None, "the restart is under way");
    bench.exits(4, 70);
    assert_eq!(bench.state.emptying(), Some(1));
    assert_eq!(spawns(&bench.event(Event::Restart)), []);
    bench.queue(0);
    bench.after(EMPTY_MS);
    assert_eq!(spawns(&bench.exits(2, 0)), [], "a slot is one change");
    assert_eq!(spawns(&bench.after(0)), [(Post::Worker(0), 5)]);
}

#[test]
fn a_hung_worker_of_a_slot_that_is_closed_gets_no_successor() {
    let mut bench = Bench::serving(POLICY);
    bench.beats.extend([(1, bench.now_ms), (2, bench.now_ms), (3, bench.now_ms)]);
    bench.watched(2_000, &[1, 3], &[]);
    let successor = 4;
    bench.exits(successor, 70);
    bench.scale_to(1);
    bench.queue(0);
    assert!(is_drained(&bench.after(EMPTY_MS), 2));
    assert_eq!(spawns(&bench.watched(4_000, &[1, 3], &[])), []);
    assert_eq!(bench.exits(2, 0), [Action::CloseSlot { slot: 1 }, SCALED_1]);
}

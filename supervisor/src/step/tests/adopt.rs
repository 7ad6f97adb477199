//! Queues that nobody accepts from.

use super::super::adopt::{AGAIN_MS, SOON_MS, UNSERVED_MS};
use super::super::hang::{LOOK_MS, STALE_MS};
use super::*;

const FOUR: Policy = Policy { workers: 4, ..POLICY };

impl Bench {
    /// So many connections wait in every slot that is looked at: which slots are adopted, and by whom.
    fn queued(&mut self, waiting: u32) -> Vec<(u16, u64)> {
        let slots = self.state.queues(self.now_ms);
        let actions = slots.into_iter().flat_map(|slot| self.event(Event::Queue { slot, waiting })).collect::<Vec<_>>();
        let adopted = actions.iter().map(|action| match action {
            Action::Adopt { slot, by } => (*slot, *by),
            other => panic!("{other:?}"),
        });
        adopted.collect()
    }

    /// The breaker of slot 0 opens: its process dies when it is young and says that it cannot work with the settings.
    fn with_slot_0_broken(policy: Policy) -> Self {
        let mut bench = Self::serving(policy);
        let young = spawns(&bench.exits(1, 70))[0].1;
        assert!(is_broken(&bench.exits(young, 78)));
        bench
    }
}

#[test]
fn what_waits_in_a_broken_slot_goes_to_its_siblings_in_turn_as_long_as_something_waits() {
    let mut bench = Bench::with_slot_0_broken(FOUR);
    assert_eq!(bench.queued(0), [], "nothing waits");
    assert_eq!(bench.queued(3), [(0, 2)]);
    assert_eq!(bench.queued(3), [], "it needs a moment");
    bench.after(AGAIN_MS);
    assert_eq!(bench.queued(3), [(0, 3)]);
    bench.after(AGAIN_MS);
    assert_eq!(bench.queued(3), [(0, 4)]);
    bench.after(AGAIN_MS);
    assert_eq!(bench.queued(3), [(0, 2)], "round");
}

#[test]
fn a_slot_that_is_served_soon_is_left_alone_and_one_that_is_not_after_all_is_adopted() {
    let mut bench = Bench::serving(POLICY);
    let young = spawns(&bench.exits(1, 70))[0].1;
    let delay_ms = delay_of(&bench.exits(young, 70)).unwrap();
    assert!(delay_ms <= SOON_MS);
    assert_eq!(bench.queued(5), []);
    let successor = bench.next_spawn().1;
    bench.after(UNSERVED_MS - delay_ms - 1);
    assert_eq!(bench.queued(5), [], "it boots");
    bench.after(1);
    assert_eq!(bench.queued(5), [(0, 2)], "it boots slowly");
    bench.ready(successor);
    bench.after(AGAIN_MS);
    assert_eq!((bench.queued(5), bench.state.queues(bench.now_ms)), (vec![], vec![]), "it serves");
}

#[test]
fn a_long_delay_of_the_back_off_is_not_waited_for() {
    let mut bench = Bench::serving(POLICY);
    let mut generation = spawns(&bench.exits(1, 70))[0].1;
    for _ in 0..2 {
        bench.exits(generation, 70);
        generation = bench.next_spawn().1;
    }
    let delay_ms = delay_of(&bench.exits(generation, 70)).unwrap();
    assert!(delay_ms > SOON_MS, "{delay_ms}");
    assert_eq!(bench.queued(1), [(0, 2)]);
}

#[test]
fn a_silent_worker_is_no_adopter_and_its_own_queue_is_adopted_within_250_ms() {
    let mut bench = Bench::serving(FOUR);
    bench.watched(500, &[1, 2, 3, 4, 5], &[]);
    assert_eq!(bench.queued(9), []);
    bench.watched(STALE_MS + LOOK_MS, &[1, 4, 5], &[]);
    assert_eq!(bench.queued(9), [(1, 4), (2, 1)], "200 ms after the last heartbeat; workers 1 and 2 are silent");
    bench.watched(LOOK_MS, &[1, 2, 3, 4, 5], &[]);
    assert_eq!(bench.queued(9), []);
}

#[test]
fn without_a_sound_sibling_and_during_a_drain_nothing_is_adopted() {
    let mut bench = Bench::with_slot_0_broken(POLICY);
    bench.event(Event::LinkLost { generation: 2 });
    assert_eq!(bench.queued(9), [], "it is about to be killed");
    let mut bench = Bench::with_slot_0_broken(POLICY);
    bench.event(Event::Stop);
    bench.after(UNSERVED_MS);
    assert_eq!(bench.event(Event::Queue { slot: 0, waiting: 9 }), []);
    assert_eq!(bench.state.queues(bench.now_ms), [0; 0]);
}

#[test]
fn a_slot_that_is_to_be_closed_adopts_nothing_and_is_adopted_if_nobody_serves_it() {
    let mut bench = Bench::serving(FOUR);
    bench.event(Event::ScaleTo { workers: 3 });
    bench.watched(500, &[1, 2, 3, 4, 5], &[]);
    bench.watched(STALE_MS + LOOK_MS, &[2, 3, 4, 5], &[]);
    for by in [2, 3, 2] {
        assert_eq!(bench.queued(9), [(0, by)], "not by the worker that is about to leave");
        bench.watched(AGAIN_MS, &[2, 3, 4, 5], &[]);
    }
    bench.watched(STALE_MS + LOOK_MS, &[1, 2, 3, 5], &[]);
    assert_eq!(bench.queued(9), [(3, 3)]);
}

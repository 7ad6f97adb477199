//! Processes that send no heartbeat.

use super::super::hang::{ABORT_MS, DEAF_MS, HUNG_MS, LOOK_MS, OVERSLEPT_MS, STALE_MS, SUCCESSION_MS};
use super::*;

impl Bench {
    /// Lets time pass as the real loop does: a look every 50 ms, at which these processes beat.
    pub(super) fn watched(&mut self, ms: u64, beating: &[u64], starved: &[u64]) -> Vec<Action> {
        let mut actions = Vec::new();
        for _ in 0..ms / LOOK_MS {
            self.now_ms += LOOK_MS;
            self.beats.extend(beating.iter().map(|generation| (*generation, self.now_ms)));
            actions.extend(self.look(starved));
        }
        actions
    }

    fn look(&mut self, starved: &[u64]) -> Vec<Action> {
        let mut actions = self.event(Event::Look);
        for (generation, heartbeat_ms) in self.beats.clone() {
            let starved = starved.contains(&generation);
            actions.extend(self.event(Event::Pulse { generation, heartbeat_ms, starved }));
        }
        actions.extend(self.event(Event::Tick));
        actions
    }

    /// Serving, and all processes beat.
    fn beating() -> Self {
        let mut bench = Self::serving(POLICY);
        assert_eq!(bench.watched(500, &[1, 2, 3], &[]), []);
        bench
    }
}

fn aborts(actions: &[Action]) -> Vec<u64> {
    let aborted = actions.iter().filter_map(|action| match action {
        Action::Abort { generation } => Some(*generation),
        _ => None,
    });
    aborted.collect()
}

#[test]
fn a_silent_worker_is_parked_within_250_ms_and_comes_back_with_its_next_heartbeat() {
    let mut bench = Bench::beating();
    assert_eq!(bench.watched(STALE_MS, &[2, 3], &[]), []);
    assert_eq!(bench.steered, [0, 1]);
    bench.watched(LOOK_MS, &[2, 3], &[]);
    assert_eq!(bench.steered, [1], "200 ms after the last heartbeat");
    assert_eq!(bench.watched(LOOK_MS, &[1, 2, 3], &[]), []);
    assert_eq!(bench.steered, [0, 1]);
}

#[test]
fn a_hung_worker_is_aborted_when_its_successor_is_ready_and_then_killed() {
    let mut bench = Bench::beating();
    let actions = bench.watched(HUNG_MS + LOOK_MS, &[2, 3], &[]);
    assert_eq!(spawns(&actions), [(Post::Worker(0), 4)]);
    assert!(aborts(&actions).is_empty());
    let actions = bench.ready(4);
    assert_eq!(aborts(&actions), [1]);
    assert_eq!(bench.steered, [0, 1], "the successor serves");
    bench.beats.remove(&1);
    let actions = bench.watched(ABORT_MS, &[2, 3, 4], &[]);
    assert_eq!(actions, [kill(1, KillReason::Hung)]);
    let actions = bench.event(Event::Exited { generation: 1, code: None, lost: 3 });
    assert_eq!(actions, [], "nobody is replaced twice");
    assert_eq!(bench.state.free_seats.len() + 3, usize::from(POLICY.seats()) - 1);
}

#[test]
fn without_a_successor_in_time_a_hung_worker_is_aborted_all_the_same() {
    let mut bench = Bench::beating();
    bench.watched(HUNG_MS + LOOK_MS, &[2, 3], &[]);
    assert!(aborts(&bench.watched(SUCCESSION_MS - LOOK_MS, &[2, 3], &[])).is_empty());
    assert_eq!(aborts(&bench.watched(LOOK_MS, &[2, 3], &[])), [1]);
    let actions = bench.event(Event::Exited { generation: 1, code: None, lost: 0 });
    assert_eq!(spawns(&actions), [], "the successor that boots moves up");
    bench.beats.remove(&1);
    assert_eq!(bench.steered, [1]);
    bench.ready(4);
    assert_eq!(bench.steered, [0, 1]);
}

#[test]
fn a_successor_that_dies_is_not_tried_again_before_the_hung_worker_is_gone() {
    let mut bench = Bench::beating();
    bench.watched(HUNG_MS + LOOK_MS, &[2, 3], &[]);
    bench.exits(4, 70);
    let actions = bench.watched(SUCCESSION_MS, &[2, 3], &[]);
    assert_eq!((spawns(&actions), aborts(&actions)), (vec![], vec![1]));
    assert_eq!(spawns(&bench.exits(1, 134)), [(Post::Worker(0), 5)]);
}

#[test]
fn a_worker_that_answers_before_its_successor_is_ready_is_taken_back() {
    let mut bench = Bench::beating();
    bench.watched(HUNG_MS + LOOK_MS, &[2, 3], &[]);
    let actions = bench.watched(LOOK_MS, &[1, 2, 3], &[]);
    assert!(matches!(actions[..], [Action::Tell(Notice::TakenBack { .. }), Action::Drain { generation: 4, .. }]));
    assert_eq!(bench.steered, [0, 1]);
    assert_eq!(bench.ready(4), [], "too late: it leaves");
    assert_eq!(bench.exits(4, 0), []);
    assert_eq!(bench.watched(10_000, &[1, 2, 3], &[]), []);
}

#[test]
fn a_worker_that_gets_no_processor_is_parked_and_not_hung() {
    let mut bench = Bench::beating();
    let actions = bench.watched(60_000, &[2, 3], &[1]);
    assert_eq!(actions, [Action::Tell(Notice::Parked { post: Post::Worker(0) })]);
    assert_eq!(bench.steered, [1]);
    assert_eq!(spawns(&bench.watched(HUNG_MS + LOOK_MS, &[2, 3], &[])).len(), 1, "now it gets one and is silent");
}

#[test]
fn a_supervisor_that_overslept_convicts_nobody() {
    let mut bench = Bench::beating();
    for _ in 0..20 {
        bench.now_ms += LOOK_MS + OVERSLEPT_MS + 1;
        assert_eq!(bench.look(&[]), []);
    }
    assert_eq!(bench.steered, [0, 1]);
    assert_eq!(bench.watched(STALE_MS, &[], &[]), [], "the ages are counted anew");
    assert!(!bench.watched(LOOK_MS, &[], &[]).is_empty());
}

#[test]
fn a_hung_admin_process_has_no_second_and_is_aborted_after_a_while() {
    let mut bench = Bench::beating();
    let actions = bench.watched(HUNG_MS + LOOK_MS + SUCCESSION_MS, &[1, 2], &[]);
    assert_eq!((spawns(&actions), aborts(&actions)), (vec![], vec![3]));
    assert_eq!(spawns(&bench.exits(3, 134)), [(Post::Admin, 4)]);
}

#[test]
fn during_a_drain_a_silence_of_seconds_is_not_judged() {
    let mut bench = Bench::beating();
    bench.watched(HUNG_MS + LOOK_MS, &[2, 3], &[]);
    let actions = bench.event(Event::Stop);
    assert_eq!(actions.len(), 4, "{actions:?}: told, and both processes of slot 0 and the one of slot 1 leave");
    assert!(aborts(&bench.watched(3_000, &[2, 3], &[])).is_empty());
    for generation in [1, 2, 4] {
        bench.exits(generation, 0);
    }
    assert_eq!(exit_of(&bench.exits(3, 0)), Some(Exit::Clean));
}

#[test]
fn a_worker_that_cannot_finish_its_calls_does_not_hold_up_the_drain() {
    let mut bench = Bench::serving(Policy { drain_timeout_ms: 30_000, ..POLICY });
    bench.watched(500, &[1, 2, 3], &[]);
    bench.event(Event::Drain);
    assert_eq!(bench.watched(DEAF_MS, &[2], &[]), [], "it may block for a while");
    assert_eq!(bench.watched(LOOK_MS, &[1, 2], &[]), []);
    assert_eq!(bench.watched(DEAF_MS - LOOK_MS, &[2], &[1]), [], "no processor, no blame");
    let actions = bench.watched(DEAF_MS + LOOK_MS, &[2], &[]);
    assert_eq!(aborts(&actions), [1]);
    assert_eq!(bench.watched(ABORT_MS, &[2], &[]), [kill(1, KillReason::Hung)]);
    bench.event(Event::Exited { generation: 1, code: None, lost: 1 });
    bench.exits(2, 0);
    assert_eq!(exit_of(&bench.exits(3, 0)), Some(Exit::Forced));
}

#[test]
fn an_old_worker_that_cannot_finish_does_not_hold_up_a_rolling_restart() {
    let mut bench = Bench::beating();
    bench.event(Event::Restart);
    bench.ready(4);
    bench.watched(EARLY_MS, &[1, 2, 3, 4], &[]);
    let actions = bench.watched(DEAF_MS + LOOK_MS, &[2, 3, 4], &[]);
    assert_eq!(aborts(&actions), [1]);
    assert!(bench.watched(ABORT_MS, &[2, 3, 4], &[]).contains(&kill(1, KillReason::Hung)));
    bench.beats.remove(&1);
    assert_eq!(spawns(&bench.event(Event::Exited { generation: 1, code: None, lost: 1 })), [(Post::Worker(1), 5)]);
}

#[test]
fn a_silence_before_ready_is_not_held_against_a_worker_that_is_told_to_leave() {
    let mut bench = Bench::started(Policy { drain_timeout_ms: 60_000, ..POLICY });
    bench.beats.extend((1..=3).map(|generation| (generation, bench.now_ms)));
    [2, 3].into_iter().for_each(|generation| drop(bench.ready(generation)));
    bench.watched(2 * DEAF_MS, &[2, 3], &[]);
    bench.ready(1);
    bench.event(Event::Drain);
    assert_eq!(bench.watched(DEAF_MS, &[2, 3], &[]), []);
    assert_eq!(aborts(&bench.watched(LOOK_MS, &[2, 3], &[])), [1]);
}

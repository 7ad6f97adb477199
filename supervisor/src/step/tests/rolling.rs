//! Rolling restarts.

use super::super::event::RestartFailure;
use super::*;

fn begun() -> Bench {
    let mut bench = Bench::serving(POLICY);
    let actions = bench.event(Event::Restart);
    assert_eq!(spawns(&actions), [(Post::Worker(0), 4)], "the canary alone");
    assert_eq!(drains(&actions), vec![0; 0]);
    bench
}

#[test]
fn the_canary_serves_a_second_before_the_old_worker_drains_and_the_others_follow_one_by_one() {
    let mut bench = begun();
    assert_eq!(bench.ready(4), []);
    assert_eq!(bench.state.next_deadline_ms(), Some(bench.now_ms + EARLY_MS));
    assert_eq!(bench.after(EARLY_MS - 1), []);
    assert_eq!(drains(&bench.after(1)), [1]);
    assert_eq!(bench.steered, [0, 1], "the slot served all the time");
    let actions = bench.exits(1, 0);
    assert_eq!(spawns(&actions), [(Post::Worker(1), 5)], "when the old one has gone");
    assert_eq!(drains(&bench.ready(5)), [2], "proven by the canary");
    assert_eq!(tells(&bench.exits(2, 0)), [Notice::Restarted { purpose: Purpose::Restart, workers: 2 }]);
    assert_eq!(bench.state.free_seats.len() + 3, usize::from(POLICY.seats()) - 1);
}

#[test]
fn a_canary_that_fails_ends_the_restart_and_the_old_workers_serve_on() {
    for fails_before_ready in [true, false] {
        let mut bench = begun();
        if !fails_before_ready {
            bench.ready(4);
        }
        let actions = bench.exits(4, 70);
        let reason = RestartFailure::Died { post: Post::Worker(0) };
        assert_eq!(tells(&actions)[0], Notice::RestartFailed { purpose: Purpose::Restart, replaced: 0, reason });
        assert_eq!((spawns(&actions), drains(&actions)), (vec![], vec![]));
        assert_eq!(bench.steered, [0, 1]);
        assert_eq!(bench.after(60_000), []);
        assert_eq!(spawns(&bench.event(Event::Restart)).len(), 1, "it may be tried again");
    }
}

#[test]
fn a_canary_that_never_gets_ready_is_killed_at_the_boot_timeout() {
    let mut bench = begun();
    assert_eq!(bench.after(30_000), [kill(4, KillReason::BootTimeout)]);
    assert!(matches!(
        tells(&bench.exits(4, 137))[0],
        Notice::RestartFailed { purpose: Purpose::Restart, replaced: 0, .. }
    ));
    assert_eq!(bench.steered, [0, 1]);
}

#[test]
fn an_old_worker_that_dies_beside_its_successor_leaves_the_slot_to_it() {
    let mut bench = begun();
    assert_eq!(spawns(&bench.exits(1, 70)), []);
    assert_eq!(bench.steered, [1]);
    assert_eq!(spawns(&bench.ready(4)), [(Post::Worker(1), 5)]);
    assert_eq!(bench.steered, [0, 1]);
}

#[test]
fn a_second_request_joins_the_first_and_a_stop_wins() {
    let mut bench = begun();
    assert_eq!(bench.event(Event::Restart), []);
    let actions = bench.event(Event::Stop);
    let reason = RestartFailure::Stopping;
    assert_eq!(tells(&actions)[0], Notice::RestartFailed { purpose: Purpose::Restart, replaced: 0, reason });
    assert_eq!(drains(&actions), [1, 4, 2]);
    assert_eq!(
        tells(&bench.event(Event::Restart)),
        [Notice::RestartFailed { purpose: Purpose::Restart, replaced: 0, reason }]
    );
    for generation in [1, 2, 4] {
        bench.exits(generation, 0);
    }
    assert_eq!(exit_of(&bench.exits(3, 0)), Some(Exit::Clean));
}

#[test]
fn slots_without_a_worker_are_left_to_the_restart_policy() {
    let mut bench = Bench::serving(POLICY);
    let young = spawns(&bench.exits(1, 70))[0].1;
    bench.exits(young, 70);
    assert_eq!(spawns(&bench.event(Event::Restart)), [(Post::Worker(1), 5)]);
}

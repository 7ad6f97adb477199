//! Workers that drain though nobody asked them to.

use super::super::event::RestartFailure;
use super::*;

const LEAVES_0: Action = Action::Tell(Notice::LeavesUnasked { post: Post::Worker(0) });

impl Bench {
    fn leaves(&mut self, generation: u64) -> Vec<Action> {
        self.event(Event::Draining { generation })
    }
}

#[test]
fn it_gets_no_new_connections_and_a_successor_at_once_and_the_time_of_any_drain() {
    let mut bench = Bench::serving(POLICY);
    let actions = bench.leaves(1);
    assert_eq!((&actions[0], spawns(&actions)), (&LEAVES_0, vec![(Post::Worker(0), 4)]));
    assert_eq!(bench.steered, [1]);
    assert_eq!(bench.leaves(1), [], "it says so once");
    assert_eq!(bench.ready(4), [Action::Tell(Notice::Succeeded { post: Post::Worker(0) })]);
    assert_eq!(bench.steered, [0, 1]);
    assert_eq!(bench.after(9_999), []);
    assert_eq!(bench.after(1), [kill(1, KillReason::DrainDeadline)]);
    assert_eq!(bench.event(Event::Exited { generation: 1, code: None, lost: 1 }), []);
    assert_eq!(bench.state.free_seats.len() + 3, usize::from(POLICY.seats()) - 1);
}

#[test]
fn it_may_be_gone_before_its_successor_is_ready() {
    let mut bench = Bench::serving(POLICY);
    bench.leaves(1);
    assert_eq!(spawns(&bench.exits(1, 0)), []);
    assert_eq!(bench.steered, [1]);
    bench.ready(4);
    assert_eq!(bench.steered, [0, 1]);
}

#[test]
fn a_successor_that_dies_is_not_tried_again_before_it_is_gone() {
    let mut bench = Bench::serving(POLICY);
    bench.leaves(1);
    assert_eq!(bench.exits(4, 70), [Action::Tell(Notice::SuccessorFailed { post: Post::Worker(0) })]);
    assert_eq!(bench.after(5_000), []);
    assert_eq!(spawns(&bench.exits(1, 0)), [(Post::Worker(0), 5)]);
}

#[test]
fn who_was_told_to_leave_says_so_as_well_and_that_is_all() {
    let mut bench = Bench::serving(POLICY);
    bench.event(Event::Stop);
    assert_eq!(bench.leaves(1), []);
}

#[test]
fn the_new_worker_of_a_restart_waits_for_room_and_the_restart_fails() {
    let mut bench = Bench::serving(POLICY);
    let canary = spawns(&bench.event(Event::Restart))[0].1;
    bench.ready(canary);
    bench.after(EARLY_MS);
    assert_eq!(bench.leaves(canary), [LEAVES_0], "the old one is still there, and no slot has three");
    assert_eq!(bench.steered, [1]);
    let successor = spawns(&bench.exits(1, 0))[0].1;
    bench.ready(successor);
    let reason = RestartFailure::Died { post: Post::Worker(0) };
    let failed = Action::Tell(Notice::RestartFailed { purpose: Purpose::Restart, replaced: 0, reason });
    assert_eq!(bench.exits(canary, 0), [failed]);
    assert_eq!(bench.steered, [0, 1]);
}

#[test]
fn the_admin_process_is_replaced_when_it_is_gone() {
    let mut bench = Bench::serving(POLICY);
    assert_eq!(bench.leaves(3), [Action::Tell(Notice::LeavesUnasked { post: Post::Admin })]);
    assert_eq!(bench.after(10_000), [kill(3, KillReason::DrainDeadline)]);
    assert_eq!(spawns(&bench.exits(3, 0)), [(Post::Admin, 4)]);
}

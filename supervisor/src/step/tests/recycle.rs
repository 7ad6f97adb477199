//! Workers that have reached a limit.

use super::super::recycle::Reason;
use super::*;

/// Limits that are lowered by a tenth at most.
const LIMITS: Limits = Limits { age_ms: 3_600_000, requests: 1_000, rss_bytes: 100 << 20 };
const FRESH: (u64, u64, Option<u64>) = (1_000, 10, Some(20 << 20));
const SERVED_ALL: (u64, u64, Option<u64>) = (1_000, 1_000, Some(20 << 20));
const GROWN: (u64, u64, Option<u64>) = (1_000, 10, Some(100 << 20));

impl Bench {
    fn recycling() -> Self {
        Self::serving(Policy { recycle: LIMITS, ..POLICY })
    }

    fn uses(&mut self, generation: u64, (age_ms, requests, rss_bytes): (u64, u64, Option<u64>)) -> Vec<Action> {
        self.event(Event::Usage { generation, age_ms, requests, rss_bytes })
    }
}

fn begun(post: Post, reason: Reason) -> Action {
    Action::Tell(Notice::RecycleBegun { post, reason })
}

fn is_told(actions: &[Action], generation: u64) -> bool {
    actions.iter().any(|action| matches!(action, Action::Drain { generation: told, .. } if *told == generation))
}

#[test]
fn a_worker_that_reached_a_limit_is_succeeded_before_it_drains() {
    let mut bench = Bench::recycling();
    assert_eq!(bench.uses(2, FRESH), []);
    let actions = bench.uses(1, SERVED_ALL);
    assert_eq!(actions.first(), Some(&begun(Post::Worker(0), Reason::Requests)));
    assert_eq!(spawns(&actions), [(Post::Worker(0), 4)]);
    assert_eq!(bench.steered, [0, 1], "the old one serves on");
    assert!(is_told(&bench.ready(4), 1));
    assert_eq!(bench.steered, [0, 1]);
    let recycled = Action::Tell(Notice::Recycled { post: Post::Worker(0), reason: Reason::Requests });
    assert_eq!(bench.exits(1, 0), [recycled]);
    assert_eq!(bench.uses(4, FRESH), [], "the new one starts from nothing");
    assert_eq!(bench.after(60_000), []);
}

#[test]
fn each_limit_counts_by_itself_and_none_is_lowered_by_more_than_a_tenth() {
    for (limits, usage, reason) in [
        (Limits { age_ms: 1_000_000, ..Limits::default() }, (1_000_000, 0, None), Reason::Age),
        (Limits { requests: 10, ..Limits::default() }, (0, 10, None), Reason::Requests),
    ] {
        let mut bench = Bench::serving(Policy { recycle: limits, ..POLICY });
        let (age_ms, requests, _) = usage;
        assert_eq!(bench.uses(1, (age_ms * 9 / 10 - age_ms.min(1), requests * 9 / 10 - requests.min(1), None)), []);
        assert_eq!(bench.uses(1, usage).first(), Some(&begun(Post::Worker(0), reason)));
    }
    let mut bench = Bench::serving(POLICY);
    assert_eq!(bench.uses(1, (u64::MAX, u64::MAX, Some(u64::MAX))), [], "no limit");
}

#[test]
fn limits_of_workers_that_started_together_differ() {
    let lowest = |seed: u64| {
        let mut state = State::new(Policy { recycle: LIMITS, ..POLICY }, 1, seed);
        step(&mut state, Event::Start, 1);
        (1..=3).for_each(|generation| drop(step(&mut state, Event::Ready { generation }, 1)));
        let recycles = |state: &mut State, requests| {
            let usage = Event::Usage { generation: 1, age_ms: 0, requests, rss_bytes: None };
            !spawns(&step(state, usage, 2_000)).is_empty()
        };
        (0..=1_000).find(|requests| recycles(&mut state, *requests)).unwrap()
    };
    let drawn: Vec<u64> = (1..20).map(|seed| lowest(seed << 40)).collect();
    assert!(drawn.iter().all(|requests| (900..=1_000).contains(requests)), "{drawn:?}");
    assert!(drawn.iter().any(|requests| *requests != drawn[0]), "{drawn:?}");
}

#[test]
fn memory_must_be_over_the_limit_three_times_in_a_row_and_be_known() {
    let mut bench = Bench::recycling();
    for usage in [GROWN, GROWN, FRESH, GROWN, GROWN, (1_000, 10, None), GROWN, GROWN] {
        assert_eq!(bench.uses(1, usage), [], "{usage:?}");
    }
    assert_eq!(bench.uses(1, GROWN).first(), Some(&begun(Post::Worker(0), Reason::Memory)));
}

#[test]
fn one_slot_at_a_time_and_the_next_when_the_first_one_is_well() {
    let mut bench = Bench::recycling();
    assert_eq!(spawns(&bench.uses(1, SERVED_ALL)), [(Post::Worker(0), 4)]);
    assert_eq!(bench.uses(2, SERVED_ALL), []);
    bench.ready(4);
    assert_eq!(bench.uses(2, SERVED_ALL), [], "the old one has not left");
    assert_eq!(spawns(&bench.exits(1, 0)), [], "the new one is young");
    assert_eq!(bench.after(EARLY_MS - 1), []);
    assert_eq!(spawns(&bench.after(1)), [(Post::Worker(1), 5)]);
}

#[test]
fn nobody_is_recycled_while_something_is_amiss_or_changes() {
    // A dead worker, a silent one, a dead admin process, and a rolling restart.
    let amiss: [&dyn Fn(&mut Bench); 5] = [
        &|bench| drop(bench.exits(2, 70)),
        &|bench| {
            bench.beats.extend([(1, bench.now_ms), (2, bench.now_ms), (3, bench.now_ms)]);
            bench.watched(500, &[1, 3], &[]);
        },
        &|bench| drop(bench.exits(3, 70)),
        &|bench| drop(bench.event(Event::Restart)),
        &|bench| drop(bench.event(Event::ScaleTo { workers: 1 })),
    ];
    for (number, make) in amiss.iter().enumerate() {
        let mut bench = Bench::recycling();
        make(&mut bench);
        let actions = bench.uses(1, SERVED_ALL);
        let is_begun = |action: &Action| matches!(action, Action::Tell(Notice::RecycleBegun { .. }));
        assert!(!actions.iter().any(is_begun), "{number}: {actions:?}");
    }
}

#[test]
fn a_restart_that_is_asked_for_waits_for_it_and_so_does_a_smaller_number() {
    let mut bench = Bench::recycling();
    bench.uses(1, SERVED_ALL);
    assert_eq!(spawns(&bench.event(Event::Restart)), []);
    bench.event(Event::ScaleTo { workers: 1 });
    bench.ready(4);
    assert_eq!(bench.state.emptying(), None);
    assert_eq!(spawns(&bench.exits(1, 0)), [(Post::Worker(0), 5)], "the canary of the restart");
}

#[test]
fn a_successor_that_dies_is_not_tried_again_at_once_and_the_old_one_serves_on() {
    let mut bench = Bench::recycling();
    bench.uses(1, SERVED_ALL);
    assert!(bench.exits(4, 70).contains(&Action::Tell(Notice::SuccessorFailed { post: Post::Worker(0) })));
    assert_eq!(bench.steered, [0, 1]);
    for _ in 0..29 {
        bench.after(1_000);
        assert_eq!(bench.uses(1, SERVED_ALL), []);
    }
    assert_eq!(spawns(&bench.after(1_000)), [(Post::Worker(0), 5)]);
}

#[test]
fn a_drain_ends_it() {
    let mut bench = Bench::recycling();
    bench.uses(1, SERVED_ALL);
    let actions = bench.event(Event::Stop);
    assert!([1, 2, 4].into_iter().all(|generation| is_told(&actions, generation)), "{actions:?}");
    assert_eq!(bench.uses(2, SERVED_ALL), []);
    [1, 2, 4].into_iter().for_each(|generation| drop(bench.exits(generation, 0)));
    assert_eq!(exit_of(&bench.exits(3, 0)), Some(Exit::Clean));
}

#[test]
fn an_old_worker_that_dies_first_leaves_its_place_to_the_successor() {
    let mut bench = Bench::recycling();
    bench.uses(1, SERVED_ALL);
    let actions = bench.exits(1, 70);
    assert_eq!(spawns(&actions), []);
    bench.ready(4);
    bench.after(EARLY_MS);
    assert_eq!(spawns(&bench.uses(2, SERVED_ALL)), [(Post::Worker(1), 5)], "the token is back");
}

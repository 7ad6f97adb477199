//! Each rule of the policy by itself, with a clock that only the test moves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::restart::EARLY_MS;
use super::*;
use crate::Exit;

mod adopt;
mod hang;
mod leaving;
mod recycle;
mod reload;
mod rolling;
mod scale;

/// Two workers; no limit is met by chance.
pub(crate) const POLICY: Policy = Policy {
    workers: 2,
    boot_timeout_ms: 30_000,
    drain_timeout_ms: 10_000,
    restart_delay_ms: 100,
    restart_delay_max_ms: 10_000,
    restart_limit: 5,
    recycle: Limits { age_ms: 0, requests: 0, rss_bytes: 0 },
};

struct Bench {
    state: State,
    now_ms: u64,
    /// Slots that get new connections.
    steered: Vec<u16>,
    /// The same with the settings their workers listen by.
    targets: Vec<(u16, u64)>,
    /// The last heartbeat of each process that sends any.
    beats: BTreeMap<u64, u64>,
}

impl Bench {
    /// Started, nothing ready. Generations are 1.. for the workers, then the admin process.
    fn started(policy: Policy) -> Self {
        let mut bench = Self {
            state: State::new(policy, 1, 7),
            now_ms: 5_000,
            steered: (0..policy.workers).collect(),
            targets: (0..policy.workers).map(|slot| (slot, 1)).collect(),
            beats: BTreeMap::new(),
        };
        let actions = bench.event(Event::Start);
        assert_eq!(spawns(&actions).len(), usize::from(policy.workers) + 1);
        bench
    }

    /// All processes ready and no longer young.
    fn serving(policy: Policy) -> Self {
        let mut bench = Self::started(policy);
        (1..=u64::from(policy.workers) + 1).for_each(|generation| drop(bench.ready(generation)));
        assert!(bench.after(EARLY_MS).is_empty());
        bench
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        let mut actions = step(&mut self.state, event, self.now_ms);
        actions.retain(|action| match action {
            Action::Steer { open } => {
                let is_new = matches!(event, Event::SlotOpened { .. });
                assert!(is_new || *open != self.targets, "nothing changed");
                self.targets.clone_from(open);
                self.steered = open.iter().map(|(slot, _)| *slot).collect();
                false
            }
            _ => true,
        });
        actions
    }

    fn after(&mut self, ms: u64) -> Vec<Action> {
        self.now_ms += ms;
        self.event(Event::Tick)
    }

    fn ready(&mut self, generation: u64) -> Vec<Action> {
        self.event(Event::Ready { generation })
    }

    fn exits(&mut self, generation: u64, code: i32) -> Vec<Action> {
        self.event(Event::Exited { generation, code: Some(code), lost: 0 })
    }

    /// Lets the clock run from deadline to deadline until a process is started.
    fn next_spawn(&mut self) -> (Post, u64) {
        loop {
            let due_ms = self.state.next_deadline_ms().expect("something is due");
            self.now_ms = self.now_ms.max(due_ms);
            if let [one] = spawns(&self.event(Event::Tick))[..] {
                return one;
            }
        }
    }
}

fn spawns(actions: &[Action]) -> Vec<(Post, u64)> {
    let spawned = actions.iter().filter_map(|action| match action {
        Action::Spawn { post, generation, .. } => Some((*post, *generation)),
        _ => None,
    });
    spawned.collect()
}

fn tells(actions: &[Action]) -> Vec<Notice> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Tell(notice) => Some(*notice),
        _ => None,
    });
    told.collect()
}

fn drains(actions: &[Action]) -> Vec<u64> {
    let drained = actions.iter().filter_map(|action| match action {
        Action::Drain { generation, .. } => Some(*generation),
        _ => None,
    });
    drained.collect()
}

fn delay_of(actions: &[Action]) -> Option<u64> {
    actions.iter().find_map(|action| match action {
        Action::Tell(Notice::BackedOff { delay_ms, .. }) => Some(*delay_ms),
        _ => None,
    })
}

fn is_broken(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Tell(Notice::Broken { .. })))
}

fn exit_of(actions: &[Action]) -> Option<Exit> {
    actions.iter().find_map(|action| match action {
        Action::Exit(exit) => Some(*exit),
        _ => None,
    })
}

fn kill(generation: u64, reason: KillReason) -> Action {
    Action::Kill { generation, reason }
}

#[test]
fn the_instance_is_announced_once_when_everything_is_ready() {
    let mut bench = Bench::started(POLICY);
    assert_eq!(bench.ready(1), []);
    assert_eq!(bench.ready(2), []);
    assert_eq!(bench.ready(3), [Action::AnnounceReady { workers: 2 }]);
    assert_eq!(bench.ready(3), []);
}

#[test]
fn after_the_boot_timeout_one_worker_and_the_admin_process_are_enough() {
    let mut bench = Bench::started(POLICY);
    bench.ready(1);
    bench.ready(3);
    assert_eq!(bench.state.next_deadline_ms(), Some(35_000));
    let actions = bench.after(30_000);
    assert!(actions.contains(&Action::AnnounceReady { workers: 1 }), "{actions:?}");
    assert!(actions.contains(&kill(2, KillReason::BootTimeout)), "{actions:?}");
    assert_eq!(bench.state.next_deadline_ms(), None, "nothing but the death of process 2 is awaited");
}

#[test]
fn a_late_death_is_replaced_at_once_in_a_seat_of_its_own() {
    let mut bench = Bench::serving(POLICY);
    let actions = bench.exits(1, 70);
    let Some(Action::Spawn { post, generation, seat, restart, .. }) = actions.last().cloned() else {
        panic!("{actions:?}")
    };
    assert_eq!((post, generation, restart), (Post::Worker(0), 4, true));
    assert!(!bench.state.free_seats.contains(&seat));
    assert_eq!(bench.state.free_seats.len() + 3, usize::from(POLICY.seats()) - 1);
}

#[test]
fn late_deaths_never_open_the_breaker() {
    let mut bench = Bench::serving(POLICY);
    let mut generation = 1;
    for _ in 0..50 {
        let spawned = spawns(&bench.exits(generation, 70));
        generation = spawned[0].1;
        bench.ready(generation);
        bench.after(EARLY_MS);
    }
    assert_eq!(bench.state.broken_slots(), 0);
}

#[test]
fn early_deaths_wait_twice_as_long_each_time_and_then_open_the_breaker() {
    let mut bench = Bench::serving(POLICY);
    let mut generation = spawns(&bench.exits(1, 70))[0].1;
    for expected_ms in [100, 200, 400, 800] {
        let actions = bench.exits(generation, 70);
        let delay_ms = delay_of(&actions).unwrap();
        assert!((expected_ms * 8 / 10..=expected_ms * 12 / 10).contains(&delay_ms), "{delay_ms} for {expected_ms}");
        let died_ms = bench.now_ms;
        generation = bench.next_spawn().1;
        assert_eq!(bench.now_ms, died_ms + delay_ms);
    }
    assert!(is_broken(&bench.exits(generation, 70)));
    assert_eq!(bench.state.broken_slots(), 1);
}

#[test]
fn a_death_within_a_second_of_ready_is_early_and_after_it_is_not() {
    for (lived_ms, early) in [(EARLY_MS - 1, true), (EARLY_MS, false)] {
        let mut bench = Bench::serving(POLICY);
        let generation = spawns(&bench.exits(1, 70))[0].1;
        bench.ready(generation);
        bench.after(lived_ms);
        assert_eq!(delay_of(&bench.exits(generation, 70)).is_some(), early, "{lived_ms}");
    }
}

#[test]
fn an_open_breaker_lets_one_try_through_every_thirty_seconds() {
    let mut bench = Bench::serving(Policy { restart_limit: 1, ..POLICY });
    let first = spawns(&bench.exits(1, 70))[0].1;
    assert!(is_broken(&bench.exits(first, 70)));
    assert!(spawns(&bench.after(29_999)).is_empty());
    let second = spawns(&bench.after(1))[0].1;
    assert!(is_broken(&bench.exits(second, 70)));
    let third = spawns(&bench.after(30_000))[0].1;
    bench.ready(third);
    bench.after(EARLY_MS);
    assert_eq!(spawns(&bench.exits(third, 70)).len(), 1, "a try that served closes the breaker");
}

#[test]
fn a_try_that_has_served_for_a_while_closes_the_breaker() {
    let mut bench = Bench::serving(POLICY);
    let young = spawns(&bench.exits(1, 70))[0].1;
    assert!(is_broken(&bench.exits(young, 78)));
    let trial = spawns(&bench.after(30_000))[0].1;
    bench.ready(trial);
    assert!(bench.state.slots[0].trial);
    bench.after(EARLY_MS);
    assert!(!bench.state.slots[0].trial);
}

#[test]
fn a_successor_that_took_over_is_not_the_one_try_of_the_breaker() {
    let mut bench = Bench::serving(POLICY);
    let young = spawns(&bench.exits(1, 70))[0].1;
    assert!(is_broken(&bench.exits(young, 78)));
    let trial = spawns(&bench.after(30_000))[0].1;
    bench.ready(trial);
    let successor = spawns(&bench.event(Event::Draining { generation: trial }))[0].1;
    bench.ready(successor);
    let actions = bench.exits(successor, 70);
    assert!(delay_of(&actions).is_some() && !is_broken(&actions), "{actions:?}");
}

#[test]
fn the_last_live_slot_is_never_broken_and_never_waits_long() {
    let mut bench = Bench::serving(Policy { workers: 1, ..POLICY });
    let mut generation = spawns(&bench.exits(1, 70))[0].1;
    for _ in 0..30 {
        let actions = bench.exits(generation, 78);
        assert!(delay_of(&actions).is_some_and(|delay_ms| delay_ms <= 100), "{actions:?}");
        generation = bench.next_spawn().1;
    }
}

#[test]
fn only_the_slot_that_served_last_is_spared() {
    let mut bench = Bench::serving(POLICY);
    let one = spawns(&bench.exits(1, 70))[0].1;
    let two = spawns(&bench.exits(2, 70))[0].1;
    let mut of = [one, two];
    for _ in 0..40 {
        for generation in of {
            bench.exits(generation, 70);
        }
        let (Post::Worker(slot), generation) = bench.next_spawn() else { continue };
        of = [0; 2];
        of[usize::from(slot)] = generation;
    }
    let broken: Vec<Post> = bench
        .state
        .slots
        .iter()
        .filter(|slot| matches!(slot.state, SlotState::Broken { .. }))
        .map(|slot| slot.post)
        .collect();
    assert_eq!(broken, [Post::Worker(0)]);
}

#[test]
fn nothing_ever_ready_ends_with_a_bug_or_with_what_the_processes_say() {
    for (code, exit) in [(70, Exit::Bug), (78, Exit::Config)] {
        let mut bench = Bench::started(Policy { workers: 1, ..POLICY });
        bench.ready(2);
        let mut generation = 1;
        for _ in 0..5 {
            if bench.exits(generation, code).contains(&Action::Tell(Notice::GaveUp { exit })) {
                break;
            }
            generation = bench.next_spawn().1;
        }
        assert_eq!(exit_of(&bench.exits(2, 0)), Some(exit), "code {code}");
        assert_eq!(generation > 1, code != 78, "settings do not get better by trying");
    }
}

#[test]
fn an_admin_process_that_never_comes_up_ends_the_instance_and_drains_the_workers() {
    let mut bench = Bench::started(POLICY);
    bench.ready(1);
    bench.ready(2);
    let actions = bench.exits(3, 78);
    assert!(actions.contains(&Action::Tell(Notice::GaveUp { exit: Exit::Config })));
    assert!(matches!(actions[..], [.., Action::Drain { generation: 1, .. }, Action::Drain { generation: 2, .. }]));
    bench.exits(1, 0);
    assert_eq!(exit_of(&bench.exits(2, 0)), Some(Exit::Config));
}

#[test]
fn a_process_that_hangs_at_first_boot_is_killed_and_not_tried_for_ever() {
    let mut bench = Bench::started(Policy { workers: 1, ..POLICY });
    bench.ready(2);
    assert_eq!(bench.after(30_000), [kill(1, KillReason::BootTimeout)]);
    let actions = bench.event(Event::Exited { generation: 1, code: None, lost: 0 });
    assert!(actions.contains(&Action::Tell(Notice::GaveUp { exit: Exit::Bug })), "{actions:?}");
}

#[test]
fn a_failed_fork_is_an_early_death() {
    let mut bench = Bench::serving(POLICY);
    let generation = spawns(&bench.exits(1, 70))[0].1;
    assert!(delay_of(&bench.event(Event::SpawnFailed { generation })).is_some());
}

#[test]
fn a_process_without_link_or_with_last_words_is_killed_if_it_stays() {
    for event in [Event::LinkLost { generation: 1 }, Event::Fatal { generation: 1, exit_code: 70 }] {
        let mut bench = Bench::serving(POLICY);
        assert_eq!(bench.event(event), []);
        assert_eq!(bench.after(LINGER_MS - 1), []);
        assert_eq!(bench.after(1), [kill(1, KillReason::Lingering)]);
        assert_eq!(bench.after(60_000), [], "it is killed once");
    }
}

#[test]
fn a_drain_tells_all_workers_at_once_and_the_admin_process_last() {
    let mut bench = Bench::serving(POLICY);
    let drain = |generation, deadline_ms| Action::Drain { generation, deadline_ms };
    let notice = Action::Tell(Notice::Draining { deadline_ms: 10_000 });
    assert_eq!(bench.event(Event::Stop), [notice, drain(1, 9_500), drain(2, 9_500)]);
    assert_eq!(bench.event(Event::Drained { generation: 1, forced: false }), []);
    assert_eq!(bench.exits(1, 0), []);
    assert_eq!(bench.exits(2, 0), [drain(3, 1_500)]);
    assert_eq!(bench.exits(3, 0), [Action::Exit(Exit::Clean)]);
    assert_eq!(bench.state.next_deadline_ms(), None);
}

#[test]
fn no_process_is_started_during_a_drain() {
    let mut bench = Bench::serving(POLICY);
    let generation = spawns(&bench.exits(1, 70))[0].1;
    bench.exits(generation, 70);
    bench.event(Event::Stop);
    assert!(spawns(&bench.after(5_000)).is_empty());
    assert!(spawns(&bench.exits(2, 70)).is_empty());
    assert_eq!(exit_of(&bench.exits(3, 70)), Some(Exit::Clean), "a crash that lost nothing cuts nothing");
}

#[test]
fn at_the_hard_deadline_what_is_left_is_killed_and_the_exit_says_so() {
    let mut bench = Bench::serving(POLICY);
    bench.event(Event::Stop);
    bench.exits(1, 0);
    assert_eq!(bench.after(9_999), []);
    assert_eq!(bench.after(1), [kill(2, KillReason::DrainDeadline)]);
    bench.event(Event::Exited { generation: 2, code: None, lost: 1 });
    assert_eq!(exit_of(&bench.exits(3, 0)), Some(Exit::Forced));
}

#[test]
fn a_worker_that_cut_something_itself_makes_the_exit_forced() {
    for (message, code) in [(Some(Event::Drained { generation: 1, forced: true }), 0), (None, 75)] {
        let mut bench = Bench::serving(POLICY);
        bench.event(Event::Stop);
        message.into_iter().for_each(|message| drop(bench.event(message)));
        bench.exits(1, code);
        bench.exits(2, 0);
        assert_eq!(exit_of(&bench.exits(3, 0)), Some(Exit::Forced));
    }
}

#[test]
fn a_second_signal_kills_at_once_and_is_clean_if_nothing_was_lost() {
    for (lost, exit) in [(0, Exit::Clean), (3, Exit::Forced)] {
        let mut bench = Bench::serving(POLICY);
        bench.event(Event::Stop);
        let kills = [1, 2, 3].map(|generation| kill(generation, KillReason::SecondSignal));
        assert_eq!(bench.event(Event::Stop), kills);
        bench.event(Event::Exited { generation: 1, code: None, lost });
        bench.event(Event::Exited { generation: 2, code: None, lost: 0 });
        assert_eq!(exit_of(&bench.event(Event::Exited { generation: 3, code: None, lost: 0 })), Some(exit));
    }
}

#[test]
fn a_drain_that_was_asked_for_is_not_the_first_signal() {
    let mut bench = Bench::serving(POLICY);
    assert_eq!(bench.event(Event::Drain).len(), 3, "told, and two workers leave");
    assert_eq!(bench.event(Event::Drain), []);
    assert_eq!(bench.event(Event::Stop), [], "the calls in flight are finished");
    let kills = [1, 2, 3].map(|generation| kill(generation, KillReason::SecondSignal));
    assert_eq!(bench.event(Event::Stop), kills);
}

#[test]
fn a_stop_while_booting_ends_cleanly_even_if_processes_must_be_killed() {
    let mut bench = Bench::started(POLICY);
    bench.event(Event::Stop);
    assert_eq!(bench.after(10_000).len(), 2);
    bench.event(Event::Exited { generation: 1, code: None, lost: 0 });
    bench.event(Event::Exited { generation: 2, code: None, lost: 0 });
    assert_eq!(bench.after(2_000), [kill(3, KillReason::DrainDeadline)]);
    let actions = bench.event(Event::Exited { generation: 3, code: None, lost: 0 });
    assert_eq!(exit_of(&actions), Some(Exit::Clean), "none had ever served");
}

#[test]
fn events_of_processes_long_gone_change_nothing() {
    let mut bench = Bench::serving(POLICY);
    bench.exits(1, 70);
    for event in [
        Event::Ready { generation: 1 },
        Event::Drained { generation: 1, forced: true },
        Event::Fatal { generation: 1, exit_code: 78 },
        Event::LinkLost { generation: 1 },
        Event::Exited { generation: 1, code: Some(0), lost: 9 },
        Event::SpawnFailed { generation: 99 },
    ] {
        assert_eq!(bench.event(event), [], "{event:?}");
    }
}

#[test]
fn new_connections_go_to_slots_that_serve_and_to_all_when_none_does() {
    let mut bench = Bench::started(POLICY);
    assert_eq!(bench.steered, [0, 1], "as the kernel does");
    bench.ready(2);
    assert_eq!(bench.steered, [1]);
    bench.ready(1);
    bench.ready(3);
    assert_eq!(bench.steered, [0, 1]);
    bench.after(EARLY_MS);
    let successor = spawns(&bench.exits(1, 70))[0].1;
    assert_eq!(bench.steered, [1]);
    bench.exits(2, 70);
    assert_eq!(bench.steered, [0, 1], "whoever is replaced first");
    bench.ready(successor);
    assert_eq!(bench.steered, [0]);
    bench.event(Event::Stop);
    assert_eq!(bench.steered, [0], "the last choice stays");
}

#[test]
fn during_a_drain_connections_go_where_a_worker_has_not_left_yet() {
    let mut bench = Bench::serving(Policy { workers: 3, ..POLICY });
    bench.event(Event::Stop);
    assert_eq!(bench.steered, [0, 1, 2]);
    bench.event(Event::Drained { generation: 2, forced: false });
    assert_eq!(bench.steered, [0, 2], "it is about to exit");
    bench.exits(1, 0);
    assert_eq!(bench.steered, [2]);
    bench.exits(3, 0);
    assert_eq!(bench.steered, [2], "there is nobody left to choose");
}

#[test]
fn a_worker_that_a_signal_ends_during_a_drain_may_have_cut_something() {
    for (signal, exit) in [(Some(0), Exit::Clean), (None, Exit::Forced)] {
        let mut bench = Bench::serving(Policy { workers: 1, ..POLICY });
        bench.event(Event::Stop);
        bench.event(Event::Exited { generation: 1, code: signal, lost: 0 });
        assert_eq!(exit_of(&bench.exits(2, 0)), Some(exit));
    }
}

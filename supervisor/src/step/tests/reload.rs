//! Other settings and other programs.

use super::super::reload::CHECK_MS;
use super::*;

const CHANGE: Change = Change { policy: POLICY, workers: None, new_workers: false, new_admin: false };

fn failed(what: What, replaced: u16, reason: ReloadFailure) -> Notice {
    Notice::ReloadFailed { what, replaced, stragglers: 0, reason }
}

fn reloaded(what: What, replaced: u16) -> Notice {
    Notice::Reloaded { what, replaced, workers: None }
}

/// What processes are started with, in order.
fn revisions(actions: &[Action]) -> Vec<u64> {
    let spawned = actions.iter().filter_map(|action| match action {
        Action::Spawn { revision, .. } => Some(*revision),
        _ => None,
    });
    spawned.collect()
}

fn applies(actions: &[Action]) -> Vec<u64> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Apply { generation, revision: 2 } => Some(*generation),
        _ => None,
    });
    told.collect()
}

fn keeps(actions: &[Action]) -> Vec<Vec<u64>> {
    let kept = actions.iter().filter_map(|action| match action {
        Action::Keep { revisions } => Some(revisions.clone()),
        _ => None,
    });
    kept.collect()
}

/// Settings of revision 2 were read.
fn loaded(bench: &mut Bench, change: Change) -> Vec<Action> {
    assert_eq!(bench.event(Event::Reload), [Action::Load]);
    bench.event(Event::Loaded { revision: 2, change })
}

/// The canary of revision 2 is process 4; the workers before are 1 and 2, the admin process is 3.
fn with_canary() -> Bench {
    let mut bench = Bench::serving(POLICY);
    let actions = loaded(&mut bench, Change { new_workers: true, ..CHANGE });
    assert_eq!((spawns(&actions), revisions(&actions)), (vec![(Post::Worker(0), 4)], vec![2]));
    bench
}

#[test]
fn what_can_change_in_place_does_and_is_answered_when_every_process_has_it() {
    let mut bench = Bench::serving(POLICY);
    let policy = Policy { restart_limit: 1, ..POLICY };
    let actions = loaded(&mut bench, Change { policy, ..CHANGE });
    assert_eq!((applies(&actions), spawns(&actions)), (vec![1, 2, 3], vec![]));
    assert_eq!(bench.event(Event::Applied { generation: 1, revision: 2 }), []);
    // One that dies meanwhile is replaced by one that is started with them.
    let actions = bench.exits(2, 70);
    assert_eq!(revisions(&actions), [2]);
    let actions = bench.event(Event::Applied { generation: 3, revision: 2 });
    assert_eq!((tells(&actions), keeps(&actions)), (vec![reloaded(What::Settings, 0)], vec![vec![2]]));
    assert!(matches!(actions[0], Action::Keep { .. }), "what is given up is closed before it is told: {actions:?}");
    assert!(is_broken(&bench.exits(4, 70)), "the numbers of the policy are in force too");
}

#[test]
fn settings_that_cannot_be_had_or_are_the_same_change_nothing() {
    let mut bench = Bench::serving(POLICY);
    assert_eq!(bench.event(Event::Reload), [Action::Load]);
    assert_eq!(tells(&bench.event(Event::NotLoaded { same: true })), [Notice::Unchanged]);
    assert_eq!(bench.event(Event::Reload), [Action::Load]);
    let refused = failed(What::Settings, 0, ReloadFailure::Refused);
    assert_eq!(tells(&bench.event(Event::NotLoaded { same: false })), [refused]);
    assert_eq!(bench.state.revision(), 1);
}

#[test]
fn workers_follow_a_canary_then_the_admin_process_then_it_is_told() {
    let mut bench = Bench::serving(POLICY);
    let actions = loaded(&mut bench, Change { new_workers: true, new_admin: true, workers: Some(3), ..CHANGE });
    assert_eq!(spawns(&actions), [(Post::Worker(0), 4)]);
    bench.ready(4);
    assert_eq!(drains(&bench.after(EARLY_MS)), [1]);
    assert_eq!(bench.targets, [(0, 2), (1, 1)], "each slot with the settings its worker listens by");
    let actions = bench.exits(1, 0);
    assert_eq!((spawns(&actions), revisions(&actions)), (vec![(Post::Worker(1), 5)], vec![2]));
    assert_eq!(drains(&bench.ready(5)), [2]);
    let actions = bench.exits(2, 0);
    assert_eq!((drains(&actions), applies(&actions)), (vec![3], vec![]), "the admin process leaves");
    let actions = bench.exits(3, 0);
    assert_eq!((spawns(&actions), revisions(&actions)), (vec![(Post::Admin, 6)], vec![2]));
    let actions = bench.ready(6);
    assert_eq!(tells(&actions)[0], Notice::Reloaded { what: What::Settings, replaced: 2, workers: Some(3) });
    assert_eq!(keeps(&actions), [[2]]);
    assert_eq!(revisions(&bench.event(Event::SlotOpened { ok: true })), [2]);
}

#[test]
fn a_canary_that_dies_changes_nothing() {
    let mut bench = with_canary();
    bench.ready(4);
    let actions = bench.exits(4, 70);
    assert_eq!(tells(&actions).last(), Some(&failed(What::Settings, 0, ReloadFailure::Died { post: Post::Worker(0) })));
    assert_eq!(keeps(&actions), [[1]]);
    assert_eq!((revisions(&bench.exits(1, 137)), bench.state.revision()), (vec![1], 1));
}

#[test]
fn until_the_canary_has_taken_over_other_slots_are_filled_with_what_is_trusted() {
    let mut bench = with_canary();
    let actions = bench.exits(2, 137);
    assert_eq!((spawns(&actions), revisions(&actions)), (vec![(Post::Worker(1), 5)], vec![1]));
}

#[test]
fn workers_replaced_before_a_later_one_fails_go_back() {
    let mut bench = with_canary();
    bench.ready(4);
    bench.after(EARLY_MS);
    assert_eq!(spawns(&bench.exits(1, 0)), [(Post::Worker(1), 5)]);
    let actions = bench.exits(5, 70);
    assert_eq!((spawns(&actions), revisions(&actions)), (vec![(Post::Worker(0), 6)], vec![1]), "back at once");
    assert!(!tells(&actions).iter().any(|notice| matches!(notice, Notice::ReloadFailed { .. })), "not yet");
    assert_eq!(bench.targets[0], (0, 2), "until it goes, slot 0 is sent what its worker listens to");
    assert_eq!(drains(&bench.ready(6)), [4], "what was trusted needs no canary");
    let actions = bench.exits(4, 0);
    assert_eq!(tells(&actions).last(), Some(&failed(What::Settings, 1, ReloadFailure::Died { post: Post::Worker(1) })));
    assert_eq!(keeps(&actions), [[1]]);
}

#[test]
fn an_admin_process_that_cannot_start_takes_everything_back() {
    let mut bench = Bench::serving(POLICY);
    assert_eq!(drains(&loaded(&mut bench, Change { new_admin: true, ..CHANGE })), [3]);
    assert_eq!(revisions(&bench.exits(3, 0)), [2]);
    let actions = bench.exits(4, 78);
    assert_eq!((spawns(&actions), revisions(&actions)), (vec![(Post::Admin, 5)], vec![1]), "and waits for nothing");
    let told = tells(&bench.ready(5));
    assert!(told.is_empty() || told == [failed(What::Settings, 0, ReloadFailure::Died { post: Post::Admin })]);
    assert_eq!((bench.state.revision(), bench.event(Event::Reload)), (1, vec![Action::Load]));
}

#[test]
fn settings_may_cure_a_slot_that_was_given_up() {
    let mut bench = Bench::serving(Policy { restart_limit: 1, ..POLICY });
    let generation = spawns(&bench.exits(1, 70))[0].1;
    assert!(is_broken(&bench.exits(generation, 70)));
    let actions = loaded(&mut bench, Change { new_workers: true, ..CHANGE });
    assert_eq!(revisions(&actions), [2, 2], "at once, beside the canary in the other slot");
}

#[test]
fn requests_that_come_meanwhile_are_taken_up_afterwards() {
    let mut bench = with_canary();
    for event in [Event::Reload, Event::Reload, Event::Restart, Event::Upgrade] {
        assert_eq!(bench.event(event), []);
    }
    let actions = bench.exits(4, 70);
    assert!(actions.contains(&Action::Check) && !actions.contains(&Action::Load), "{actions:?}");
    let actions = bench.event(Event::Checked { ok: false });
    assert!(tells(&actions).contains(&failed(What::Program, 0, ReloadFailure::Refused)));
    assert!(actions.contains(&Action::Load) || bench.state.rolling.is_some(), "{actions:?}");
}

#[test]
fn a_stop_comes_before_everything() {
    for wanted in [Event::Reload, Event::Upgrade, Event::Restart] {
        let mut bench = with_canary();
        bench.event(wanted);
        let told = tells(&bench.event(Event::Stop));
        assert!(told.contains(&failed(What::Settings, 0, ReloadFailure::Stopping)), "{told:?}");
        let program = failed(What::Program, 0, ReloadFailure::Stopping);
        assert_eq!(told.contains(&program), wanted == Event::Upgrade, "{told:?}");
        assert_eq!(bench.event(Event::Loaded { revision: 3, change: CHANGE }), [], "too late");
    }
}

#[test]
fn another_program_is_tried_takes_over_and_replaces_every_process() {
    let mut bench = Bench::serving(POLICY);
    assert_eq!(bench.event(Event::Upgrade), [Action::Check]);
    assert_eq!(bench.event(Event::Checked { ok: true }), [Action::Replace]);
    let change = Change { new_workers: true, new_admin: true, ..CHANGE };
    let actions = bench.event(Event::TakenOver { revision: 2, change });
    assert_eq!((spawns(&actions), revisions(&actions)), (vec![(Post::Worker(0), 4)], vec![2]));
    bench.ready(4);
    let actions = bench.exits(4, 70);
    let died = ReloadFailure::Died { post: Post::Worker(0) };
    assert_eq!(tells(&actions).last(), Some(&failed(What::Program, 0, died)), "the workers before serve on");
}

#[test]
fn a_program_that_does_not_answer_or_start_is_left_aside() {
    let mut bench = Bench::serving(POLICY);
    bench.event(Event::Upgrade);
    assert_eq!(bench.state.next_deadline_ms(), Some(bench.now_ms + CHECK_MS));
    let refused = failed(What::Program, 0, ReloadFailure::Refused);
    assert_eq!(bench.after(CHECK_MS), [Action::GiveCheckUp, Action::Tell(refused)]);
    assert_eq!(bench.event(Event::Checked { ok: true }), [], "too late");
    bench.event(Event::Upgrade);
    bench.event(Event::Checked { ok: true });
    assert_eq!(tells(&bench.event(Event::NotReplaced)), [refused]);
    assert_eq!(bench.event(Event::Upgrade), [Action::Check], "it may be tried again");
}

#[test]
fn a_worker_that_leaves_is_told_too_and_waited_for() {
    let mut bench = Bench::serving(POLICY);
    bench.event(Event::ScaleTo { workers: 1 });
    bench.event(Event::Queue { slot: 1, waiting: 0 });
    assert_eq!(drains(&bench.after(100)), [2], "slot 1 is being closed");
    assert_eq!(applies(&loaded(&mut bench, CHANGE)), [1, 2, 3], "a token that is taken back is good nowhere");
    bench.event(Event::Applied { generation: 1, revision: 2 });
    assert_eq!(tells(&bench.event(Event::Applied { generation: 3, revision: 2 })), []);
    assert!(tells(&bench.exits(2, 0)).contains(&reloaded(What::Settings, 0)));
}

/// Worker 4 works with revision 2, which was refused: what was to take its place died.
fn with_straggler() -> Bench {
    let mut bench = with_canary();
    bench.ready(4);
    bench.after(EARLY_MS);
    bench.exits(1, 0);
    assert_eq!(spawns(&bench.exits(5, 70)), [(Post::Worker(0), 6)], "back");
    let died = ReloadFailure::Died { post: Post::Worker(1) };
    let told = Notice::ReloadFailed { what: What::Settings, replaced: 1, stragglers: 1, reason: died };
    assert_eq!(tells(&bench.exits(6, 70)).last(), Some(&told), "and that failed too");
    bench
}

#[test]
fn settings_that_others_take_in_place_replace_a_worker_that_could_not_be_taken_back() {
    let mut bench = with_straggler();
    assert_eq!(bench.event(Event::Reload), [Action::Load]);
    let actions = bench.event(Event::Loaded { revision: 3, change: CHANGE });
    assert_eq!((spawns(&actions), revisions(&actions)), (vec![(Post::Worker(0), 7)], vec![3]));
}

#[test]
fn what_cannot_be_taken_back_is_told_and_replaced_by_the_next_reload() {
    let mut bench = with_straggler();
    // The same settings again: they are not in force everywhere.
    assert_eq!(bench.event(Event::Reload), [Action::Load]);
    let actions = bench.event(Event::NotLoaded { same: true });
    assert_eq!((spawns(&actions), revisions(&actions)), (vec![(Post::Worker(0), 7)], vec![1]));
    bench.ready(7);
    assert_eq!(drains(&bench.after(EARLY_MS)), [4]);
    let actions = bench.exits(4, 0);
    assert_eq!((tells(&actions).last(), keeps(&actions)), (Some(&reloaded(What::Settings, 1)), vec![vec![1]]));
}

#[test]
fn a_restart_waits_for_a_program_that_is_about_to_take_over() {
    let mut bench = Bench::serving(POLICY);
    bench.event(Event::Upgrade);
    assert_eq!(bench.event(Event::Checked { ok: true }), [Action::Replace]);
    assert_eq!(bench.event(Event::Restart), [], "or it would be forgotten");
    let actions = bench.event(Event::NotReplaced);
    assert!(tells(&actions).contains(&Notice::RestartBegun { purpose: Purpose::Restart, workers: 2 }), "{actions:?}");
}

#[test]
fn a_program_that_is_about_to_take_over_is_left_aside_when_the_instance_stops() {
    let mut bench = Bench::serving(POLICY);
    bench.event(Event::Upgrade);
    bench.event(Event::Checked { ok: true });
    let told = tells(&bench.event(Event::Stop));
    assert!(told.contains(&failed(What::Program, 0, ReloadFailure::Stopping)) && !bench.state.is_replacing());
    assert_eq!(bench.event(Event::TakenOver { revision: 2, change: CHANGE }), []);
}

#[test]
fn a_slot_that_cannot_be_closed_does_not_hold_a_program_up() {
    let mut bench = Bench::serving(Policy { restart_limit: 1, ..POLICY });
    let generation = spawns(&bench.exits(1, 70))[0].1;
    assert!(is_broken(&bench.exits(generation, 70)));
    bench.event(Event::ScaleTo { workers: 1 });
    bench.event(Event::Queue { slot: 1, waiting: 0 });
    assert_eq!(drains(&bench.after(1_000)), [0; 0], "no other slot serves");
    bench.event(Event::Upgrade);
    assert!(bench.event(Event::Checked { ok: true }).contains(&Action::Replace));
}

#[test]
fn whoever_asks_for_a_program_while_one_is_on_its_way_has_it_tried_again() {
    let mut bench = Bench::serving(POLICY);
    assert_eq!(bench.event(Event::Upgrade), [Action::Check]);
    assert_eq!(bench.event(Event::Upgrade), []);
    let actions = bench.event(Event::Checked { ok: false });
    assert!(actions.contains(&Action::Check), "it may be another by now: {actions:?}");
    assert_eq!(bench.event(Event::Checked { ok: true }), [Action::Replace]);
}

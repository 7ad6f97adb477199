//! Random schedules: whatever processes and the operator do, and in whatever order, some things always hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::hang::{DEAF_MS, HUNG_MS, OVERSLEPT_MS, STALE_MS};
use super::*;
use crate::Exit;

/// One thing that happens; an index picks a process modulo their number.
#[derive(Debug, Clone)]
enum Move {
    Wait(u64),
    /// Sleeps as the real loop does: until the next deadline.
    Sleep,
    Ready(usize),
    Exits(usize, Option<i32>, u64),
    Drained(usize, bool),
    Fatal(usize, u8),
    LinkLost(usize),
    /// Looks at the heartbeats so many times, 50 ms apart.
    Watch(u64),
    /// From now on a process sends heartbeats, is silent, or is silent for want of a processor.
    Beats(usize, Beats),
    SpawnsFail(bool),
    ScaleTo(u16),
    /// So many connections wait in every slot.
    Waiting(u32),
    Restart,
    /// The settings are read again; what is found, if they can be had at all.
    Reload(Option<Found>),
    /// Processes that were told to take settings over do it now.
    Applied,
    Upgrade,
    /// The other program was tried; and if it is good, whether it can be started.
    Checked(bool, bool),
    Stop,
    Drain,
    /// A process that serves drains though nobody asked it to.
    Leaves(usize),
    /// Everything becomes ready, sends heartbeats and goes on for a second.
    Settle,
    /// A worker has accepted all requests it may, or holds too much memory.
    Worn(usize, bool),
}

/// What settings that were read again ask for.
#[derive(Debug, Clone, Copy)]
struct Found {
    new_workers: bool,
    new_admin: bool,
    workers: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beats {
    Sent,
    Silent,
    Starved,
}

#[derive(Debug, Clone, Copy)]
struct Fake {
    post: Post,
    seat: u16,
    revision: u64,
    was_ready: bool,
    killed: bool,
    second_signal: bool,
    drained: bool,
    told_to_drain: bool,
    leaves: bool,
    beats: Beats,
    beat_ms: u64,
    /// How long it has been silent with a processor, as far as anybody looked.
    silent_ms: u64,
    convicted: bool,
    aborted: bool,
}

impl Fake {
    fn slot(&self) -> Option<u16> {
        match self.post {
            Post::Worker(slot) => Some(slot),
            Post::Admin => None,
        }
    }
}

struct World {
    state: State,
    now_ms: u64,
    alive: BTreeMap<u64, Fake>,
    spawns_fail: bool,
    failed: BTreeSet<u64>,
    stopped_at_ms: Option<u64>,
    signals: u32,
    /// Whether the schedule did something that must show as exit 75.
    cut: bool,
    gave_up: Option<Exit>,
    announced: u32,
    steered: Vec<u16>,
    slots: u16,
    waiting: u32,
    /// When each slot was last adopted.
    adopted_ms: BTreeMap<u16, u64>,
    /// A rolling restart is under way.
    restarting: bool,
    /// The slot of the worker that is to be recycled next, and the last one.
    recycle: Option<Post>,
    recycled: Option<Post>,
    /// What the next settings that are read ask for.
    found: Option<Found>,
    next_revision: u64,
    /// Settings on their way, and whether they ask for a new admin process.
    on_its_way: Option<(u64, bool)>,
    /// Who was told to take settings over and has not done it yet.
    pending: Vec<(u64, u64)>,
    /// The revisions that processes may have.
    kept: Vec<u64>,
    /// The other program, once it is good, can be started.
    starts: bool,
    /// The last process that was started to replace a sound one.
    voluntary: Option<u64>,
    exit: Option<Exit>,
    last_generation: u64,
}

impl World {
    fn new(workers: u16) -> Self {
        let policy = Policy {
            workers,
            boot_timeout_ms: 30_000,
            drain_timeout_ms: 10_000,
            restart_delay_ms: 100,
            restart_delay_max_ms: 10_000,
            restart_limit: 5,
            recycle: Limits { age_ms: 0, requests: 100, rss_bytes: 100 },
        };
        let mut world = Self {
            state: State::new(policy, 1, 99),
            now_ms: 1,
            alive: BTreeMap::new(),
            spawns_fail: false,
            failed: BTreeSet::new(),
            stopped_at_ms: None,
            signals: 0,
            cut: false,
            gave_up: None,
            announced: 0,
            slots: workers,
            waiting: 0,
            adopted_ms: BTreeMap::new(),
            restarting: false,
            recycle: None,
            recycled: None,
            found: None,
            next_revision: 2,
            on_its_way: None,
            pending: Vec::new(),
            kept: vec![1],
            starts: true,
            voluntary: None,
            steered: (0..workers).collect(),
            exit: None,
            last_generation: 0,
        };
        world.event(Event::Start);
        world
    }

    fn event(&mut self, event: Event) {
        let is_tick = event == Event::Tick;
        self.signals += u32::from(event == Event::Stop);
        let mut events = vec![event];
        let mut count = 0;
        while let Some(event) = events.pop() {
            count += 1;
            assert!(count < 1_000, "what is done about it brings it about again: {event:?} {:?}", self.state);
            for action in step(&mut self.state, event, self.now_ms) {
                events.extend(self.act(action));
            }
            self.check();
        }
        let due_ms = self.state.next_deadline_ms();
        assert!(!is_tick || due_ms.is_none_or(|due_ms| due_ms > self.now_ms), "it would spin: {:?}", self.state);
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        assert_eq!(self.exit, None, "nothing follows the exit: {action:?}");
        match action {
            Action::Load => {
                assert!(self.on_its_way.is_none() && self.stopped_at_ms.is_none());
                return Some(match self.found {
                    None => Event::NotLoaded { same: false },
                    Some(found) => {
                        let (revision, change) = self.read(found);
                        Event::Loaded { revision, change }
                    }
                });
            }
            Action::Apply { generation, revision } => {
                assert!(self.on_its_way.is_some_and(|(on_its_way, _)| on_its_way == revision));
                self.pending.push((generation, revision));
            }
            Action::Keep { revisions } => self.kept = revisions,
            Action::Check | Action::GiveCheckUp => {}
            Action::Replace => {
                assert!(
                    !self.restarting && self.on_its_way.is_none(),
                    "a program is replaced in the middle of something"
                );
                if !self.starts {
                    return Some(Event::NotReplaced);
                }
                let (revision, change) = self.read(Found { new_workers: true, new_admin: true, workers: None });
                return Some(Event::TakenOver { revision, change });
            }
            Action::Tell(Notice::Reloaded { .. }) => {
                let (revision, _) = self.on_its_way.take().expect("settings were on their way");
                let stays = |fake: &&Fake| {
                    !(fake.told_to_drain
                        || fake.leaves
                        || fake.drained
                        || fake.aborted
                        || fake.killed
                        || fake.convicted)
                };
                let stale = self.alive.values().filter(stays).find(|fake| fake.revision != revision);
                assert!(stale.is_none(), "{stale:?} has not got revision {revision}");
            }
            Action::Tell(Notice::ReloadFailed { .. }) => self.on_its_way = None,
            Action::Spawn { post, generation, seat, revision, .. } => {
                assert!(self.stopped_at_ms.is_none(), "{post} was started during a drain");
                assert!(generation > self.last_generation, "generation {generation} was used before");
                assert!(seat != 0 && seat < self.state.policy.seats());
                assert!(self.alive.values().all(|fake| fake.seat != seat), "two owners of seat {seat}");
                let others: Vec<&Fake> = self.alive.values().filter(|fake| fake.post == post).collect();
                assert!(others.len() < 2, "three processes for {post}");
                if !others.iter().all(|fake| fake.aborted || fake.told_to_drain || fake.convicted || fake.leaves) {
                    let recycles = self.recycle.take().is_some_and(|one| one == post);
                    assert!(recycles || self.restarting, "two processes for {post}: {others:?}");
                    let last = self.voluntary.and_then(|generation| self.alive.get(&generation));
                    let is_done = |last: &Fake| {
                        last.convicted
                            || last.leaves
                            || self.alive.values().filter(|fake| fake.post == last.post).count() == 1
                    };
                    assert!(last.is_none_or(is_done), "two voluntary restarts at a time: {last:?} of {:?}", self.alive);
                    self.voluntary = Some(generation);
                }
                assert!(post != Post::Admin || others.is_empty(), "the admin process is alone");
                self.last_generation = generation;
                if self.spawns_fail {
                    self.failed.insert(generation);
                    return Some(Event::SpawnFailed { generation });
                }
                let fake = Fake {
                    post,
                    seat,
                    revision,
                    was_ready: false,
                    killed: false,
                    second_signal: false,
                    drained: false,
                    told_to_drain: false,
                    leaves: false,
                    beats: Beats::Sent,
                    beat_ms: self.now_ms,
                    silent_ms: 0,
                    convicted: false,
                    aborted: false,
                };
                self.alive.insert(generation, fake);
            }
            Action::Drain { generation, .. } => {
                // It could not be started, and the decision about that is still to come.
                if self.failed.contains(&generation) {
                    return None;
                }
                let workers_alive = self.alive.values().any(|fake| fake.post != Post::Admin);
                let fake = self.alive.get_mut(&generation).expect("a drain goes to a living process");
                assert!(!fake.told_to_drain, "told twice");
                assert!(
                    fake.post != Post::Admin
                        || !workers_alive && self.stopped_at_ms.is_some()
                        || self.on_its_way.is_some_and(|(_, new_admin)| new_admin),
                    "the admin process goes last"
                );
                fake.told_to_drain = true;
            }
            Action::Kill { generation, reason } => {
                if self.failed.contains(&generation) {
                    return None;
                }
                let fake = self.alive.get_mut(&generation).expect("a kill goes to a living process");
                fake.killed = true;
                fake.second_signal = reason == KillReason::SecondSignal;
                assert!(reason != KillReason::SecondSignal || self.signals > 1, "nobody asked a second time");
                self.cut |= reason == KillReason::DrainDeadline && fake.was_ready && self.stopped_at_ms.is_some();
            }
            Action::Abort { generation } => {
                let fake = self.alive.get_mut(&generation).expect("an abort goes to a living process");
                let deaf = (fake.told_to_drain || fake.leaves) && fake.silent_ms > DEAF_MS;
                let hung = fake.convicted && self.stopped_at_ms.is_none();
                assert!(!fake.aborted && (hung || deaf), "{fake:?}");
                fake.aborted = true;
            }
            Action::OpenSlot { slot } => {
                assert!(slot == self.slots && self.stopped_at_ms.is_none());
                let ok = !self.spawns_fail;
                self.slots += u16::from(ok);

                return Some(Event::SlotOpened { ok });
            }
            Action::CloseSlot { slot } => {
                self.slots -= 1;
                assert!(slot == self.slots && slot > 0, "only the highest");
                assert!(self.alive.values().all(|fake| fake.post != Post::Worker(slot)), "its worker is left behind");
                assert!(!self.steered.contains(&slot), "it would reset what comes");
                self.adopted_ms.remove(&slot);
            }
            Action::Adopt { slot, by } => {
                assert!(self.stopped_at_ms.is_none(), "a drain adopts nothing");
                assert!(self.waiting > 0 && slot < self.slots);
                let fake = self.alive.get(&by).expect("a living process adopts");
                let sound = fake.was_ready && !fake.told_to_drain && !fake.aborted && !fake.leaves && !fake.convicted;
                assert!(sound && !fake.killed && fake.slot().is_some_and(|own| own != slot), "{slot}: {fake:?}");
                assert!(self.state.slots.iter().any(|one| {
                    matches!(one.state, SlotState::Live { process, .. } if process.generation == by)
                        && one.health == Health::Sound
                }));
                let last_ms = self.adopted_ms.insert(slot, self.now_ms);
                assert!(last_ms.is_none_or(|last_ms| self.now_ms >= last_ms + 50), "slot {slot} again at once");
            }
            Action::Steer { open } => {
                let takes_leave = |slot: u16| {
                    let accepts = |fake: &Fake| fake.slot() == Some(slot) && fake.was_ready && fake.told_to_drain;
                    self.alive.values().any(accepts)
                };
                let accepted = |(slot, _): &(u16, u64)| takes_leave(*slot);
                assert!(self.stopped_at_ms.is_none() || open.iter().all(accepted), "a drain steers to {open:?}");
                assert!(!open.is_empty() && open.is_sorted(), "{open:?}");
                self.steered = open.into_iter().map(|(slot, _)| slot).collect();
            }
            Action::AnnounceReady { workers } => {
                self.announced += 1;
                assert!(workers > 0 && self.announced == 1);
            }
            Action::Tell(Notice::GaveUp { exit }) => {
                assert_eq!(self.gave_up, None);
                self.gave_up = Some(exit);
            }
            Action::Tell(Notice::RestartBegun { .. }) => {
                assert!(!self.restarting && self.stopped_at_ms.is_none());
                self.restarting = true;
            }
            Action::Tell(Notice::RecycleBegun { post, .. }) => {
                assert!(!self.restarting && self.on_its_way.is_none() && self.stopped_at_ms.is_none());
                assert_eq!(self.state.target(), self.slots, "while the number of slots changes");
                let well = |fake: &Fake| {
                    let leaves = fake.told_to_drain || fake.leaves || fake.killed || fake.aborted || fake.convicted;
                    // A look may come a little late.
                    fake.was_ready && !leaves && fake.silent_ms <= STALE_MS + LOOK_MS + OVERSLEPT_MS
                };
                let unwell = self.alive.values().find(|fake| !well(fake));
                assert!(unwell.is_none(), "{post} is recycled while another is not well: {unwell:?}");
                let posts: BTreeSet<Post> = self.alive.values().map(|fake| fake.post).collect();
                assert_eq!(posts.len(), usize::from(self.slots) + 1, "{post} is recycled while another is missing");
                assert_eq!(posts.len(), self.alive.len(), "{post} is recycled while another is replaced");
                self.recycle = Some(post);
                self.recycled = Some(post);
            }
            Action::Tell(Notice::Recycled { post, .. }) => {
                assert_eq!(self.recycled.take(), Some(post));
                assert!(self.alive.values().filter(|fake| fake.post == post).count() == 1);
            }
            Action::Tell(Notice::Restarted { .. }) => assert!(std::mem::take(&mut self.restarting)),
            Action::Tell(Notice::RestartFailed { .. }) => self.restarting = false,
            Action::Tell(Notice::Draining { .. }) => {
                assert!(!self.restarting, "a restart goes on during the drain");
                self.stopped_at_ms = Some(self.now_ms);
            }
            Action::Tell(Notice::Hung { post, .. }) => {
                let old = |fake: &&mut Fake| {
                    fake.post == post && fake.was_ready && !fake.told_to_drain && !fake.aborted && !fake.leaves
                };
                let fake = self.alive.values_mut().find(old).expect("a living process is convicted");
                assert!(fake.beats == Beats::Silent && fake.silent_ms > HUNG_MS, "{fake:?}");
                fake.convicted = true;
            }
            Action::Tell(Notice::TakenBack { post }) => {
                let fake = self
                    .alive
                    .values_mut()
                    .find(|fake| fake.post == post && fake.convicted && !fake.aborted && !fake.leaves);
                let fake = fake.expect("a convicted process is taken back");
                assert!(self.now_ms - fake.beat_ms <= STALE_MS, "{fake:?}");
                fake.convicted = false;
            }
            Action::Tell(_) => {}
            Action::Exit(exit) => {
                assert!(self.alive.is_empty(), "left processes behind");
                let clean = if self.cut { Exit::Forced } else { Exit::Clean };
                assert_eq!(exit, self.gave_up.unwrap_or(clean));
                self.exit = Some(exit);
            }
        }
        None
    }

    /// What holds after every step.
    fn check(&self) {
        let state = &self.state;
        let seats_used = state.slots.iter().flat_map(Slot::processes).map(|process| process.seat);
        // One bit for each seat: this runs after every step.
        let mut seats = 0u128;
        for seat in state.free_seats.iter().copied().chain(seats_used) {
            assert!(seats & 1 << seat == 0, "seat {seat} is free and has an owner, or has two: {state:?}");
            seats |= 1 << seat;
        }
        assert_eq!(seats, (1 << state.policy.seats()) - 2, "every seat is free or has an owner");
        if self.stopped_at_ms.is_none() {
            let live: Vec<u16> = self.live_slots();
            assert!(
                live.is_empty() || self.steered.iter().all(|slot| live.contains(slot)),
                "{:?}: {state:?}",
                self.steered
            );
        }
        for fake in self.alive.values() {
            assert!(self.kept.contains(&fake.revision), "{fake:?} has what was given up: {:?}", self.kept);
        }
        for slot in &state.slots {
            assert!(slot.early_deaths.len() <= state.policy.restart_limit as usize);
            if let Some(Second::Leaving(process)) = slot.second {
                let ends = process.overdue.is_some() || process.killed.is_some();
                assert!(ends, "the old {} may stay for ever", slot.post);
            }
            match slot.state {
                SlotState::Empty => {
                    let leaves = self.stopped_at_ms.is_some() || matches!(slot.second, Some(Second::Leaving(_)));
                    assert!(leaves, "{} has neither process nor date", slot.post);
                }
                SlotState::Backoff { until_ms } | SlotState::Broken { retry_ms: until_ms } => {
                    assert!(self.stopped_at_ms.is_none());
                    assert!(until_ms > self.now_ms && until_ms <= self.now_ms + 30_000);
                    let wait_ms = until_ms - self.now_ms;
                    let is_last = state.last_live == Some(slot.post) && state.live_workers() == 0;
                    assert!(!is_last || wait_ms <= 100, "the last live slot waits {wait_ms} ms");
                    let broken = matches!(slot.state, SlotState::Broken { .. });
                    assert!(broken || wait_ms <= 12_000);
                }
                // Whoever starts or drains has a date, or was killed and is about to be reaped.
                SlotState::Starting(process) | SlotState::Draining(process) => {
                    assert!(process.overdue.is_some() || process.killed.is_some(), "{} may stay for ever", slot.post);
                }
                SlotState::Live { process, .. } => {
                    let ends = process.overdue.is_some() || process.killed.is_some();
                    let leaves = matches!(slot.health, Health::Leaving { .. });
                    assert!(!leaves || ends, "{} leaves and may stay for ever", slot.post);
                }
            }
        }
    }

    /// Settings, or a program, that are on their way from now on.
    fn read(&mut self, found: Found) -> (u64, Change) {
        let revision = self.next_revision;
        self.next_revision += 1;
        let Found { new_workers, new_admin, workers } = found;
        self.on_its_way = Some((revision, new_admin));
        (revision, Change { policy: self.state.policy, workers, new_workers, new_admin })
    }

    /// The slots of workers that said ready and live, as this test knows them.
    fn live_slots(&self) -> Vec<u16> {
        let serves = |fake: &&Fake| fake.was_ready && !fake.told_to_drain && !fake.aborted && !fake.leaves;
        let mut live: Vec<u16> = self.alive.values().filter(serves).filter_map(Fake::slot).collect();
        live.sort_unstable();
        live
    }

    fn pick(&self, index: usize) -> Option<u64> {
        self.alive.keys().copied().nth(index.checked_rem(self.alive.len())?)
    }

    /// What the loop does every 50 ms, and after any other time that has passed.
    fn look(&mut self, passed_ms: u64) {
        let overslept = passed_ms > LOOK_MS + OVERSLEPT_MS;
        for fake in self.alive.values_mut() {
            match fake.beats {
                Beats::Sent => (fake.beat_ms, fake.silent_ms) = (self.now_ms, 0),
                Beats::Silent if !overslept => fake.silent_ms += passed_ms,
                Beats::Silent | Beats::Starved => fake.silent_ms = 0,
            }
        }
        for slot in self.state.queues(self.now_ms) {
            self.event(Event::Queue { slot, waiting: self.waiting });
        }
        self.event(Event::Look);
        let seen: Vec<(u64, Fake)> = self.alive.iter().map(|(generation, fake)| (*generation, *fake)).collect();
        for (generation, fake) in seen.into_iter().filter(|(_, fake)| fake.was_ready) {
            let starved = fake.beats == Beats::Starved;
            self.event(Event::Pulse { generation, heartbeat_ms: fake.beat_ms, starved });
        }
        self.event(Event::Tick);
    }

    fn play(&mut self, one: &Move) {
        match *one {
            Move::Wait(ms) => {
                self.now_ms += ms;
                self.look(ms);
            }
            Move::Sleep => {
                let before_ms = self.now_ms;
                self.now_ms = self.state.next_deadline_ms().unwrap_or(self.now_ms);
                self.look(self.now_ms - before_ms);
            }
            Move::Watch(times) => {
                for _ in 0..times {
                    if self.exit.is_none() {
                        self.now_ms += LOOK_MS;
                        self.look(LOOK_MS);
                    }
                }
            }
            Move::Beats(index, beats) => {
                let Some(generation) = self.pick(index) else { return };
                self.alive.entry(generation).and_modify(|fake| fake.beats = beats);
            }
            Move::SpawnsFail(fail) => self.spawns_fail = fail,
            Move::ScaleTo(workers) => self.event(Event::ScaleTo { workers }),
            Move::Waiting(waiting) => self.waiting = waiting,
            Move::Restart => self.event(Event::Restart),
            Move::Reload(found) => {
                self.found = found;
                self.event(Event::Reload);
            }
            Move::Applied => {
                for (generation, revision) in std::mem::take(&mut self.pending) {
                    if let Some(fake) = self.alive.get_mut(&generation) {
                        fake.revision = revision;
                        self.event(Event::Applied { generation, revision });
                    }
                }
            }
            Move::Upgrade => self.event(Event::Upgrade),
            Move::Checked(ok, starts) => {
                self.starts = starts;
                self.event(Event::Checked { ok });
            }
            Move::Stop => self.event(Event::Stop),
            Move::Drain => self.event(Event::Drain),
            Move::Settle => {
                let all: Vec<u64> = self.alive.keys().copied().collect();
                for generation in all {
                    // What was done before may have ended it.
                    let Some(fake) = self.alive.get_mut(&generation) else { continue };
                    (fake.was_ready, fake.beats) = (true, Beats::Sent);
                    self.event(Event::Ready { generation });
                }
                self.play(&Move::Watch(1_000 / LOOK_MS + 1));
            }
            Move::Worn(index, by_requests) => {
                let Some(generation) = self.pick(index) else { return };
                let (requests, rss_bytes) = if by_requests { (100, None) } else { (0, Some(100)) };
                for _ in 0..3 {
                    self.event(Event::Usage { generation, age_ms: 0, requests, rss_bytes });
                }
            }
            Move::Leaves(index) => {
                let Some(generation) = self.pick(index) else { return };
                self.alive.entry(generation).and_modify(|fake| fake.leaves |= fake.was_ready && !fake.told_to_drain);
                if self.alive.get(&generation).is_some_and(|fake| fake.was_ready) {
                    self.event(Event::Draining { generation });
                }
            }
            Move::Ready(index) => {
                let Some(generation) = self.pick(index) else { return };
                self.alive.entry(generation).and_modify(|fake| fake.was_ready = true);
                self.event(Event::Ready { generation });
            }
            Move::Drained(index, forced) => {
                let Some(generation) = self.pick(index) else { return };
                self.cut |= forced && self.stopped_at_ms.is_some();
                self.alive.entry(generation).and_modify(|fake| fake.drained = true);
                self.event(Event::Drained { generation, forced });
            }
            Move::Fatal(index, exit_code) => {
                let Some(generation) = self.pick(index) else { return };
                self.event(Event::Fatal { generation, exit_code });
            }
            Move::LinkLost(index) => {
                let Some(generation) = self.pick(index) else { return };
                self.event(Event::LinkLost { generation });
            }
            Move::Exits(index, code, lost) => {
                let Some(generation) = self.pick(index) else { return };
                self.cut |= self.stopped_at_ms.is_some() && (lost > 0 || code == Some(75));
                self.buries(generation, code);
                self.event(Event::Exited { generation, code, lost });
            }
        }
    }

    /// A worker that served and was ended by a signal during the drain may have cut what nobody counted.
    fn buries(&mut self, generation: u64, code: Option<i32>) {
        let fake = self.alive.remove(&generation).expect("who dies lived");
        let cut_off = code.is_none() && fake.was_ready && fake.post != Post::Admin && !fake.second_signal;
        self.cut |= self.stopped_at_ms.is_some() && cut_off;
    }

    /// Ends the schedule: one signal if there was none, then only time passes and what is killed dies.
    fn finish(&mut self) {
        if self.stopped_at_ms.is_none() {
            self.event(Event::Stop);
        }
        for _ in 0..100 {
            let killed: Vec<u64> = self.alive.iter().filter(|(_, fake)| fake.killed).map(|(key, _)| *key).collect();
            for generation in killed {
                self.buries(generation, None);
                self.event(Event::Exited { generation, code: None, lost: 0 });
            }
            if self.exit.is_some() {
                return;
            }
            self.play(&Move::Sleep);
        }
        panic!("the drain did not end: {:?}", self.state);
    }
}

fn any_move() -> impl Strategy<Value = Move> {
    let found = (any::<bool>(), any::<bool>(), prop::option::of(1u16..6))
        .prop_map(|(new_workers, new_admin, workers)| Found { new_workers, new_admin, workers });
    let code = prop_oneof![Just(None), Just(Some(0)), Just(Some(70)), Just(Some(78))];
    prop_oneof![
        4 => (0u64..2_000).prop_map(Move::Wait),
        1 => (2_000u64..70_000).prop_map(Move::Wait),
        8 => Just(Move::Sleep),
        8 => any::<usize>().prop_map(Move::Ready),
        8 => (any::<usize>(), code, prop_oneof![3 => Just(0u64), 1 => 1u64..9])
            .prop_map(|(index, code, lost)| Move::Exits(index, code, lost)),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(index, forced)| Move::Drained(index, forced)),
        1 => (any::<usize>(), prop_oneof![Just(70u8), Just(78)]).prop_map(|(index, code)| Move::Fatal(index, code)),
        1 => any::<usize>().prop_map(Move::LinkLost),
        4 => (1u64..30).prop_map(Move::Watch),
        1 => (100u64..150).prop_map(Move::Watch),
        4 => (any::<usize>(), prop_oneof![1 => Just(Beats::Sent), 2 => Just(Beats::Silent), 1 => Just(Beats::Starved)])
            .prop_map(|(index, beats)| Move::Beats(index, beats)),
        2 => Just(Move::Restart),
        3 => prop::option::weighted(0.9, found).prop_map(Move::Reload),
        3 => Just(Move::Applied),
        1 => Just(Move::Upgrade),
        2 => (prop::bool::weighted(0.7), prop::bool::weighted(0.7)).prop_map(|(ok, starts)| Move::Checked(ok, starts)),
        2 => any::<usize>().prop_map(Move::Leaves),
        4 => Just(Move::Settle),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(index, by_requests)| Move::Worn(index, by_requests)),
        2 => (0u16..6).prop_map(Move::ScaleTo),
        3 => (0u32..2).prop_map(Move::Waiting),
        1 => prop::bool::weighted(0.3).prop_map(Move::SpawnsFail),
        1 => prop::bool::weighted(0.2).prop_map(|stop| if stop { Move::Stop } else { Move::Sleep }),
        1 => prop::bool::weighted(0.2).prop_map(|drain| if drain { Move::Drain } else { Move::Sleep }),
    ]
}

/// How many schedules are tried. `TASK_MCP_SCHEDULES=1000000` is the long form.
fn schedules() -> u32 {
    std::env::var("TASK_MCP_SCHEDULES").map_or(10_000, |number| number.parse().expect("a number of schedules"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: schedules(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_keeps_the_invariants_and_ends(workers in 1u16..5, moves in prop::collection::vec(any_move(), 0..60)) {
        let mut world = World::new(workers);
        for one in &moves {
            if world.exit.is_some() {
                break;
            }
            world.play(one);
        }
        if world.exit.is_none() {
            world.finish();
        }
        prop_assert!(world.exit.is_some());
    }
}

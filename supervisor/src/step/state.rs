//! What the supervisor knows about its processes.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::event::{Action, KillReason, Post};
use super::recycle::{Limits, Recycling, Wear};
use super::reload::{Reload, Upgrade};
use super::rolling::{self, Rolling};
use super::scale::{self, Closing, EMPTY_MS};
use crate::Exit;

/// Most worker slots of an instance; the limit of `server.workers`.
pub(crate) const MAX_SLOTS: u16 = 256;

/// Slots an instance may be scaled to, whatever number it started with; more if it started with more.
const SCALE_SLOTS: u16 = 32;
/// A process is given this much less than the time after which it is killed, in milliseconds, or a quarter of it if that
/// is shorter: so it can end its streams itself and say what it cut.
const MARGIN_MS: u64 = 500;

/// The numbers decisions are made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// Worker slots at the start, 1 to [`MAX_SLOTS`].
    pub(crate) workers: u16,
    /// From start to ready, in milliseconds.
    pub(crate) boot_timeout_ms: u64,
    /// From the first SIGTERM to SIGKILL, in milliseconds.
    pub(crate) drain_timeout_ms: u64,
    /// First delay of the back-off, in milliseconds.
    pub(crate) restart_delay_ms: u64,
    /// Longest delay of the back-off, in milliseconds.
    pub(crate) restart_delay_max_ms: u64,
    /// Early deaths of one slot within a minute that open its breaker.
    pub(crate) restart_limit: u32,
    /// What a worker may reach before it is recycled.
    pub(crate) recycle: Limits,
}

impl Policy {
    /// Worker slots there can be.
    pub(crate) fn slots_max(&self) -> u16 {
        self.workers.clamp(SCALE_SLOTS, MAX_SLOTS)
    }

    /// Rows on the scoreboard: the supervisor's own (seat 0), and two generations of each worker there can be and of the
    /// admin process.
    pub(crate) fn seats(&self) -> u16 {
        2 * (self.slots_max() + 1) + 1
    }
}

impl Policy {
    /// The numbers of other settings. The seats were counted when the instance started.
    pub(super) fn retimed(self, other: Self) -> Self {
        Self { workers: self.workers, ..other }
    }
}

/// All slots and where the instance is in its life.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(super) policy: Policy,
    /// Workers in the order of their slots, then the admin process.
    pub(super) slots: Vec<Slot>,
    pub(super) free_seats: BTreeSet<u16>,
    pub(super) next_generation: u64,
    pub(super) phase: Phase,
    pub(super) started_ms: u64,
    pub(super) announced: bool,
    /// The worker slot that was the last to serve, as long as none serves.
    pub(super) last_live: Option<Post>,
    /// Worker slots there shall be.
    pub(super) target: u16,
    /// The last number of slots that was told to be reached; 0 = it has to be told.
    pub(super) told_target: u16,
    /// A slot is being opened.
    pub(super) opening: bool,
    /// The highest slot is being closed.
    pub(super) closing: Option<Closing>,
    /// The slot whose worker adopted last.
    pub(super) last_adopter: u16,
    /// The rolling restart under way.
    pub(super) rolling: Option<Rolling>,
    /// Somebody asked for a restart while workers were rolled for another reason.
    pub(super) restart_wanted: bool,
    /// Number of the settings and the program that are trusted.
    pub(super) revision: u64,
    /// Settings or a program on the way to be trusted.
    pub(super) reload: Option<Reload>,
    /// Somebody asked to read the settings again while something else was under way.
    pub(super) reload_wanted: bool,
    /// How far the way to another program is.
    pub(super) upgrade: Option<Upgrade>,
    /// Somebody asked for another program while one was on its way.
    pub(super) upgrade_wanted: bool,
    /// The revisions in use that were told last.
    pub(super) kept: BTreeSet<u64>,
    /// The recycling under way.
    pub(super) recycling: Recycling,
    /// A signal to stop came; the next one kills.
    pub(super) signalled: bool,
    /// When heartbeats were last looked at.
    pub(super) looked_ms: u64,
    /// No heartbeat counts as older than this.
    pub(super) counted_from_ms: u64,
    /// The slots that get new connections, and the settings their workers were started with; at first all slots, as the
    /// kernel does by itself.
    pub(super) steered: Vec<(u16, u64)>,
    pub(super) random: u64,
}

/// Where the instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Dead processes are replaced.
    Serving,
    /// Processes leave and are not replaced: the workers first, then the admin process.
    Draining {
        /// What the exit would be if nothing is cut.
        wanted: Exit,
        /// Whether something was cut.
        forced: bool,
    },
    /// Everything is gone.
    Done,
}

/// One post and its present process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) post: Post,
    pub(super) state: SlotState,
    /// Its other process, if there are two.
    pub(super) second: Option<Second>,
    /// Whether the process in `state` sends heartbeats.
    pub(super) health: Health,
    /// How worn the process in `state` is.
    pub(super) wear: Wear,
    /// Times of early deaths within the window, oldest first; no longer than the breaker's limit.
    pub(super) early_deaths: VecDeque<u64>,
    pub(super) ever_started: bool,
    pub(super) ever_ready: bool,
    /// The present process is the one try of an open breaker, and has not served long enough to close it.
    pub(super) trial: bool,
    /// Was opened while the instance ran.
    pub(super) added: bool,
    /// What the last process exited with, or said it would.
    pub(super) last_code: Option<i32>,
    /// What its next process is started with.
    pub(super) revision: u64,
    /// Since when nobody accepts from it.
    pub(super) unserved_ms: Option<u64>,
    /// Connections that wait there, as far as was told in this step.
    pub(super) waiting: u32,
    /// When its queue was last given to a sibling.
    pub(super) adopted_ms: Option<u64>,
}

/// What a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SlotState {
    /// No process, and none is due: before the start and during a drain.
    Empty,
    /// A process runs and has not said ready.
    Starting(Process),
    /// A process serves.
    Live {
        process: Process,
        /// When it said so.
        since_ms: u64,
    },
    /// A process was told to leave.
    Draining(Process),
    /// No process until then.
    Backoff { until_ms: u64 },
    /// The breaker is open; one try then.
    Broken { retry_ms: u64 },
}

/// The other process of a slot with two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Second {
    /// Starts on the same sockets, to take over.
    Successor {
        process: Process,
        /// When it said ready.
        ready_ms: Option<u64>,
    },
    /// Was told to leave.
    Leaving(Process),
}

/// Whether a live process sends heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Health {
    /// It does.
    Sound,
    /// Not lately.
    Parked,
    /// Not for long: it is being replaced.
    Hung {
        /// When it is ended without a successor.
        abort_ms: u64,
        /// Its successor failed.
        alone: bool,
    },
    /// It was sent SIGABRT.
    Condemned,
    /// It drains though nobody asked it to.
    Leaving {
        /// Nobody is started beside it: its successor failed, or it is the admin process.
        alone: bool,
    },
}

/// A process as decisions see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) generation: u64,
    pub(super) seat: u16,
    /// The settings and the program it works with.
    pub(super) revision: u64,
    pub(super) was_ready: bool,
    /// When it is killed, and why, unless it moves on.
    pub(super) overdue: Option<(u64, KillReason)>,
    /// Why it was killed.
    pub(super) killed: Option<KillReason>,
    /// The exit code it announced.
    pub(super) fatal: Option<u8>,
    /// When it was last seen to wait for a processor, or its silence was excused otherwise.
    pub(super) excused_ms: u64,
    /// It was sent SIGABRT.
    pub(super) aborted: bool,
    /// It said that it has finished and is about to exit.
    pub(super) drained: bool,
}

impl State {
    /// An instance that has not started, with the settings of this number. `seed` feeds the jitter of delays.
    pub(crate) fn new(policy: Policy, revision: u64, seed: u64) -> Self {
        let posts = (0..policy.workers).map(Post::Worker).chain([Post::Admin]);
        Self {
            policy,
            slots: posts.map(|post| Slot::new(post, revision)).collect(),
            free_seats: (1..policy.seats()).collect(),
            next_generation: 1,
            phase: Phase::Serving,
            started_ms: 0,
            announced: false,
            last_live: None,
            target: policy.workers,
            told_target: policy.workers,
            opening: false,
            closing: None,
            last_adopter: 0,
            rolling: None,
            restart_wanted: false,
            revision,
            reload: None,
            reload_wanted: false,
            upgrade: None,
            upgrade_wanted: false,
            kept: BTreeSet::from([revision]),
            recycling: Recycling::default(),
            signalled: false,
            looked_ms: 0,
            counted_from_ms: 0,
            steered: (0..policy.workers).map(|slot| (slot, revision)).collect(),
            random: seed | 1,
        }
    }

    /// Worker slots that serve.
    pub(crate) fn live_workers(&self) -> u16 {
        self.workers().filter(|slot| matches!(slot.state, SlotState::Live { .. })).count() as u16
    }

    /// Slots, the admin process's too, whose breaker is open.
    pub(crate) fn broken_slots(&self) -> u16 {
        self.slots.iter().filter(|slot| matches!(slot.state, SlotState::Broken { .. })).count() as u16
    }

    /// Number of the settings and the program that are trusted.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// When `step` wants to be called even if nothing happens, in milliseconds; `None` = never.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        // Before that time the announcement waits for all workers; after it one is enough and no clock is needed.
        let waiting =
            !self.announced && self.phase == Phase::Serving && self.live_workers() > 0 && self.admin_is_live();
        let announcement = waiting.then_some(self.started_ms + self.policy.boot_timeout_ms);
        let slots = self.slots.iter().filter_map(|slot| match slot.state {
            SlotState::Backoff { until_ms } => Some(until_ms),
            SlotState::Broken { retry_ms } => Some(retry_ms),
            SlotState::Empty | SlotState::Starting(_) | SlotState::Live { .. } | SlotState::Draining(_) => None,
        });
        let overdue = self.slots.iter().flat_map(Slot::processes).filter_map(|process| Some(process.overdue?.0));
        let aborts = self.slots.iter().filter_map(|slot| match slot.health {
            Health::Hung { abort_ms, .. } if self.phase == Phase::Serving => Some(abort_ms),
            _ => None,
        });
        let successions = self.slots.iter().filter_map(|slot| match slot.state {
            SlotState::Live { .. } => rolling::takes_over_ms(self, slot.second.as_ref()?),
            _ => None,
        });
        // While no other slot serves, the highest is not closed, and what changes that is an event.
        let closes = self.phase == Phase::Serving && scale::others_serve(self);
        let closing = self.closing.filter(|_| closes).and_then(|closing| match closing {
            Closing::Emptying { empty_since_ms: Some(since_ms), until_ms } => Some(until_ms.min(since_ms + EMPTY_MS)),
            Closing::Emptying { empty_since_ms: None, until_ms } => Some(until_ms),
            Closing::Draining => None,
        });
        let check = self.upgrade.and_then(Upgrade::deadline_ms);
        slots.chain(check).chain(closing).chain(overdue).chain(aborts).chain(successions).chain(announcement).min()
    }

    /// Whether heartbeats are to be looked at.
    pub(crate) fn watches(&self) -> bool {
        self.slots.iter().any(|slot| match slot.state {
            SlotState::Live { .. } => self.phase == Phase::Serving || slot.second.is_some(),
            SlotState::Draining(_) => true,
            SlotState::Starting(_) | SlotState::Empty | SlotState::Backoff { .. } | SlotState::Broken { .. } => {
                slot.second.is_some()
            }
        })
    }

    /// Worker slots there can be.
    pub(crate) fn slots_max(&self) -> u16 {
        self.policy.slots_max()
    }

    /// Rows on the scoreboard.
    pub(crate) fn seats(&self) -> u16 {
        self.policy.seats()
    }

    /// Worker slots there are.
    pub(crate) fn worker_slots(&self) -> u16 {
        self.workers().count() as u16
    }

    /// Worker slots there shall be.
    pub(crate) fn target(&self) -> u16 {
        self.target
    }

    /// The slot that is to be closed once its queue is empty.
    pub(crate) fn emptying(&self) -> Option<u16> {
        let emptying = self.phase == Phase::Serving && matches!(self.closing, Some(Closing::Emptying { .. }));
        emptying.then(|| self.worker_slots() - 1)
    }

    /// The highest worker slot.
    pub(super) fn highest(&mut self) -> Option<&mut Slot> {
        self.slots.iter_mut().rfind(|slot| slot.post != Post::Admin)
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.post != Post::Admin)
    }

    pub(super) fn admin_is_live(&self) -> bool {
        self.slots.iter().any(|slot| slot.post == Post::Admin && matches!(slot.state, SlotState::Live { .. }))
    }

    /// The slot one of whose processes has this generation. `None`: the process is gone, or never was.
    pub(super) fn slot_of(&mut self, generation: u64) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.processes().any(|process| process.generation == generation))
    }

    /// The process of this generation.
    pub(super) fn process_of(&mut self, generation: u64) -> Option<&mut Process> {
        self.slots.iter_mut().flat_map(Slot::processes_mut).find(|process| process.generation == generation)
    }

    /// A new process with a seat and a generation of its own. There are twice as many seats as slots, and no slot has more
    /// than two processes, so a seat is always free.
    pub(super) fn enrol(&mut self, revision: u64, now_ms: u64) -> Option<Process> {
        let seat = self.free_seats.pop_first()?;
        let generation = self.next_generation;
        self.next_generation += 1;
        let overdue = Some((now_ms + self.policy.boot_timeout_ms, KillReason::BootTimeout));
        Some(Process {
            generation,
            seat,
            revision,
            was_ready: false,
            overdue,
            killed: None,
            fatal: None,
            excused_ms: 0,
            aborted: false,
            drained: false,
        })
    }

    /// A number for jitter (xorshift64*; Marsaglia 2003, Vigna 2014).
    pub(super) fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }
}

impl Slot {
    pub(super) fn new(post: Post, revision: u64) -> Self {
        Self {
            post,
            state: SlotState::Empty,
            second: None,
            health: Health::Sound,
            wear: Wear::default(),
            early_deaths: VecDeque::new(),
            ever_started: false,
            ever_ready: false,
            trial: false,
            added: false,
            last_code: None,
            revision,
            unserved_ms: None,
            waiting: 0,
            adopted_ms: None,
        }
    }

    pub(super) fn process(&self) -> Option<Process> {
        match self.state {
            SlotState::Starting(process) | SlotState::Live { process, .. } | SlotState::Draining(process) => {
                Some(process)
            }
            SlotState::Empty | SlotState::Backoff { .. } | SlotState::Broken { .. } => None,
        }
    }

    /// Both processes, the one that serves first.
    pub(super) fn processes(&self) -> impl Iterator<Item = Process> + use<> {
        let second = self.second.map(|second| match second {
            Second::Successor { process, .. } | Second::Leaving(process) => process,
        });
        self.process().into_iter().chain(second)
    }

    pub(super) fn processes_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        let first = match &mut self.state {
            SlotState::Starting(process) | SlotState::Live { process, .. } | SlotState::Draining(process) => {
                Some(process)
            }
            SlotState::Empty | SlotState::Backoff { .. } | SlotState::Broken { .. } => None,
        };
        let second = self.second.as_mut().map(|second| match second {
            Second::Successor { process, .. } | Second::Leaving(process) => process,
        });
        first.into_iter().chain(second)
    }

    /// A state with another process, or none, of which nothing was judged yet.
    pub(super) fn settle(&mut self, state: SlotState) {
        self.state = state;
        self.health = Health::Sound;
        self.wear = Wear::default();
    }

    /// Tells the second process to leave, with a limit.
    pub(super) fn dismiss_second(&mut self, timeout_ms: u64, now_ms: u64, actions: &mut Vec<Action>) {
        if let Some(Second::Successor { mut process, .. } | Second::Leaving(mut process)) = self.second {
            process.dismiss(timeout_ms, now_ms, actions);
            self.second = Some(Second::Leaving(process));
        }
    }
}

impl Process {
    /// Tells it to leave, with a limit.
    pub(super) fn dismiss(&mut self, timeout_ms: u64, now_ms: u64, actions: &mut Vec<Action>) {
        // The time to boot does not matter any more.
        self.overdue = self.overdue.filter(|(_, reason)| *reason != KillReason::BootTimeout);
        self.kill_by(now_ms + timeout_ms, KillReason::DrainDeadline);
        let deadline_ms = timeout_ms - MARGIN_MS.min(timeout_ms / 4);
        actions.push(Action::Drain { generation: self.generation, deadline_ms });
    }

    /// It said ready. What it did before says nothing: its first heartbeat may be old, or still to come.
    pub(super) fn said_ready(&mut self, now_ms: u64) {
        self.was_ready = true;
        self.excused_ms = now_ms;
        self.overdue = self.overdue.filter(|(_, reason)| *reason != KillReason::BootTimeout);
    }

    /// Kills it at a time unless it is to be killed earlier anyway.
    pub(super) fn kill_by(&mut self, at_ms: u64, reason: KillReason) {
        if self.killed.is_none() && self.overdue.is_none_or(|(earlier, _)| at_ms < earlier) {
            self.overdue = Some((at_ms, reason));
        }
    }
}

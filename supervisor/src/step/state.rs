//! What the supervisor knows about its processes.

use std::collections::{BTreeSet, VecDeque};

use super::event::{KillReason, Post};
use crate::Exit;

/// Most worker slots of an instance; the limit of `server.workers`.
pub(crate) const MAX_SLOTS: u16 = 256;

/// The numbers decisions are made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Worker slots, 1 to [`MAX_SLOTS`].
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
}

impl Policy {
    /// Rows on the scoreboard: the supervisor's own (seat 0), and two generations of each worker and of the admin process.
    pub(crate) fn seats(&self) -> u16 {
        (2 * (u32::from(self.workers) + 1) + 1).min(u32::from(u16::MAX)) as u16
    }
}

/// All slots and where the instance is in its life.
#[derive(Debug)]
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
    /// The slots that get new connections; at first all, as the kernel does by itself.
    pub(super) steered: Vec<u16>,
    pub(super) random: u64,
}

/// Where the instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) post: Post,
    pub(super) state: SlotState,
    /// Times of early deaths within the window, oldest first; no longer than the breaker's limit.
    pub(super) early_deaths: VecDeque<u64>,
    pub(super) ever_started: bool,
    pub(super) ever_ready: bool,
    /// The present process is the one try of an open breaker.
    pub(super) trial: bool,
    /// What the last process exited with, or said it would.
    pub(super) last_code: Option<i32>,
}

/// What a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// A process as decisions see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) generation: u64,
    pub(super) seat: u16,
    pub(super) was_ready: bool,
    /// When it is killed, and why, unless it moves on.
    pub(super) overdue: Option<(u64, KillReason)>,
    /// Why it was killed.
    pub(super) killed: Option<KillReason>,
    /// The exit code it announced.
    pub(super) fatal: Option<u8>,
}

impl State {
    /// An instance that has not started. `seed` feeds the jitter of delays.
    pub(crate) fn new(policy: Policy, seed: u64) -> Self {
        let posts = (0..policy.workers).map(Post::Worker).chain([Post::Admin]);
        Self {
            policy,
            slots: posts.map(Slot::new).collect(),
            free_seats: (1..policy.seats()).collect(),
            next_generation: 1,
            phase: Phase::Serving,
            started_ms: 0,
            announced: false,
            last_live: None,
            steered: (0..policy.workers).collect(),
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

    /// When `step` wants to be called even if nothing happens, in milliseconds; `None` = never.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        // Before that time the announcement waits for all workers; after it one is enough and no clock is needed.
        let waiting =
            !self.announced && self.phase == Phase::Serving && self.live_workers() > 0 && self.admin_is_live();
        let announcement = waiting.then_some(self.started_ms + self.policy.boot_timeout_ms);
        let slots = self.slots.iter().filter_map(|slot| match slot.state {
            SlotState::Empty => None,
            SlotState::Starting(process) | SlotState::Live { process, .. } | SlotState::Draining(process) => {
                process.overdue.map(|(at_ms, _)| at_ms)
            }
            SlotState::Backoff { until_ms } => Some(until_ms),
            SlotState::Broken { retry_ms } => Some(retry_ms),
        });
        slots.chain(announcement).min()
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.post != Post::Admin)
    }

    pub(super) fn admin_is_live(&self) -> bool {
        self.slots.iter().any(|slot| slot.post == Post::Admin && matches!(slot.state, SlotState::Live { .. }))
    }

    /// The slot whose present process has this generation. `None`: the process is gone, or never was.
    pub(super) fn slot_of(&mut self, generation: u64) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.process().is_some_and(|process| process.generation == generation))
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
    fn new(post: Post) -> Self {
        Self {
            post,
            state: SlotState::Empty,
            early_deaths: VecDeque::new(),
            ever_started: false,
            ever_ready: false,
            trial: false,
            last_code: None,
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

    pub(super) fn process_mut(&mut self) -> Option<&mut Process> {
        match &mut self.state {
            SlotState::Starting(process) | SlotState::Live { process, .. } | SlotState::Draining(process) => {
                Some(process)
            }
            SlotState::Empty | SlotState::Backoff { .. } | SlotState::Broken { .. } => None,
        }
    }
}

impl Process {
    /// Kills it at a time unless it is to be killed earlier anyway.
    pub(super) fn kill_by(&mut self, at_ms: u64, reason: KillReason) {
        if self.killed.is_none() && self.overdue.is_none_or(|(earlier, _)| at_ms < earlier) {
            self.overdue = Some((at_ms, reason));
        }
    }
}

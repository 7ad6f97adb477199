//! What happens to the instance and what is done about it, as plain data.

use serde::{Deserialize, Serialize};

use super::recycle::Reason;
use super::rolling::Purpose;
use super::state::Policy;
use crate::Exit;

/// What a process is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Post {
    /// Serves the public port from the listening sockets of this slot.
    Worker(u16),
    /// Serves the admin listener and keeps house.
    Admin,
}

impl Post {
    /// The slot of a worker.
    pub(crate) fn slot(self) -> Option<u16> {
        match self {
            Self::Worker(slot) => Some(slot),
            Self::Admin => None,
        }
    }
}

impl std::fmt::Display for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Worker(slot) => write!(f, "worker {slot}"),
            Self::Admin => f.write_str("admin process"),
        }
    }
}

/// Something that happened. A process is named by its generation, which no other process of the instance ever has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The instance starts; once, first.
    Start,
    /// Nothing but time passed.
    Tick,
    /// SIGTERM or SIGINT: the first one drains, the second one kills.
    Stop,
    /// An operator asked for a drain; a signal after it is the first one all the same.
    Drain,
    /// Replace all workers one by one.
    Restart,
    /// Read the settings again.
    Reload,
    /// The settings were read and are good.
    Loaded {
        /// Their number.
        revision: u64,
        /// What is to be done for them.
        change: Change,
    },
    /// The settings were read and cannot be had while the instance runs, or differ in nothing.
    NotLoaded {
        /// Whether they are the ones in force.
        same: bool,
    },
    /// A process took settings over in place.
    Applied {
        /// Its generation.
        generation: u64,
        /// Their number.
        revision: u64,
    },
    /// Go on with the program that has the place of this one now.
    Upgrade,
    /// The other program was tried.
    Checked {
        /// Whether it can take over.
        ok: bool,
    },
    /// The other program could not be started; this one goes on.
    NotReplaced,
    /// This is the other program, and it has taken over with settings of its own.
    TakenOver {
        /// Their number.
        revision: u64,
        /// What is to be done for them.
        change: Change,
    },
    /// Have so many workers.
    ScaleTo {
        /// Their number; what is out of bounds is moved to the bound.
        workers: u16,
    },
    /// The sockets of the slot that was to be opened are open, or could not be opened.
    SlotOpened {
        /// Whether they are.
        ok: bool,
    },
    /// What waits in the queues of a slot of [`State::queues`](super::State::queues).
    Queue {
        /// The slot.
        slot: u16,
        /// Connections.
        waiting: u32,
    },
    /// A process could not be started.
    SpawnFailed {
        /// Its generation.
        generation: u64,
    },
    /// A process serves.
    Ready {
        /// Its generation.
        generation: u64,
    },
    /// A round of looks at the heartbeats begins.
    Look,
    /// The last heartbeat of a process that serves.
    Pulse {
        /// Its generation.
        generation: u64,
        /// When it came, in milliseconds.
        heartbeat_ms: u64,
        /// Whether the process is runnable and gets no processor.
        starved: bool,
    },
    /// What a worker that serves has reached; at most once a second.
    Usage {
        /// Its generation.
        generation: u64,
        /// Since its start, in milliseconds.
        age_ms: u64,
        /// Requests it has accepted.
        requests: u64,
        /// Its resident memory, in bytes; `None` if that cannot be read.
        rss_bytes: Option<u64>,
    },
    /// A process has begun to drain, asked or not.
    Draining {
        /// Its generation.
        generation: u64,
    },
    /// A process has finished its drain.
    Drained {
        /// Its generation.
        generation: u64,
        /// Whether it cut something at its deadline.
        forced: bool,
    },
    /// A process said that it cannot go on.
    Fatal {
        /// Its generation.
        generation: u64,
        /// The code it is about to exit with.
        exit_code: u8,
    },
    /// The link of a process ended or broke.
    LinkLost {
        /// Its generation.
        generation: u64,
    },
    /// A process was reaped.
    Exited {
        /// Its generation.
        generation: u64,
        /// Its exit code; `None` if a signal ended it.
        code: Option<i32>,
        /// Requests and streams it left unfinished.
        lost: u64,
    },
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Read the settings.
    Load,
    /// Tell a process to take settings over in place.
    Apply {
        /// Its generation.
        generation: u64,
        /// Their number.
        revision: u64,
    },
    /// Only these settings and programs are still in use.
    Keep {
        /// Their numbers.
        revisions: Vec<u64>,
    },
    /// Try whether the program that has the place of this one now can take over.
    Check,
    /// Give the trial of the other program up.
    GiveCheckUp,
    /// Become the other program.
    Replace,
    /// Start a process.
    Spawn {
        /// What for.
        post: Post,
        /// Its generation.
        generation: u64,
        /// Its row on the scoreboard.
        seat: u16,
        /// The settings and the program it is started with.
        revision: u64,
        /// Whether another process had the post before.
        restart: bool,
    },
    /// Tell a process to drain.
    Drain {
        /// Its generation.
        generation: u64,
        /// What it is given, in milliseconds from now.
        deadline_ms: u64,
    },
    /// SIGKILL.
    Kill {
        /// Its generation.
        generation: u64,
        /// Why.
        reason: KillReason,
    },
    /// SIGABRT.
    Abort {
        /// Its generation.
        generation: u64,
    },
    /// Open the sockets of a further slot.
    OpenSlot {
        /// Its number, one above the highest.
        slot: u16,
    },
    /// Close the sockets of the highest slot.
    CloseSlot {
        /// Its number.
        slot: u16,
    },
    /// Let a worker accept what waits in the queues of another slot.
    Adopt {
        /// The slot whose queues they are.
        slot: u16,
        /// Generation of the worker.
        by: u64,
    },
    /// Send new connections to these slots alone.
    Steer {
        /// Their numbers, ascending, and the settings their workers were started with; never empty.
        open: Vec<(u16, u64)>,
    },
    /// Tell that the instance serves; once.
    AnnounceReady {
        /// Workers that are live.
        workers: u16,
    },
    /// Tell the log.
    Tell(Notice),
    /// All processes are gone: leave.
    Exit(Exit),
}

/// Why a process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KillReason {
    /// It was not ready in time.
    BootTimeout,
    /// It lost its link, or said that it was about to exit, and stayed.
    Lingering,
    /// It hung, and SIGABRT did not end it.
    Hung,
    /// It was not done at the hard deadline of the drain.
    DrainDeadline,
    /// The operator asked a second time.
    SecondSignal,
}

/// Why there are not as many workers as were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScaleFailure {
    /// The instance stops.
    Stopping,
    /// The sockets of a further slot could not be opened.
    NotOpened,
    /// The worker of a new slot died too often before it was ever ready, or said that it cannot start.
    Broken {
        /// Its post.
        post: Post,
    },
}

/// What other settings, or another program, ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// The numbers decisions are made by.
    pub(crate) policy: Policy,
    /// Worker slots there shall be, if the settings name another number than before.
    pub(crate) workers: Option<u16>,
    /// Workers have to be replaced.
    pub(crate) new_workers: bool,
    /// The admin process has to be replaced.
    pub(crate) new_admin: bool,
}

/// Why settings, or a program, are not in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ReloadFailure {
    /// The instance stops.
    Stopping,
    /// They cannot be had while the instance runs; the shell knows why.
    Refused,
    /// A new process died before it took over, or while it was young.
    Died {
        /// Its post.
        post: Post,
    },
}

/// Why a rolling restart was abandoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartFailure {
    /// The instance stops.
    Stopping,
    /// A new process died before it took over, or while it was young.
    Died {
        /// Its post.
        post: Post,
    },
}

/// What an operator asked to be put in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// The settings as they are now.
    Settings,
    /// The program that has the place of this one now.
    Program,
}

/// Decisions an operator wants to read about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A process died after it had served for a while and is replaced at once.
    Replaced {
        /// Its post.
        post: Post,
    },
    /// A process died early and is replaced after a delay.
    BackedOff {
        /// Its post.
        post: Post,
        /// The delay, in milliseconds.
        delay_ms: u64,
        /// Early deaths of the post within the last minute.
        early_deaths: u32,
    },
    /// A post died early too often.
    Broken {
        /// The post.
        post: Post,
        /// When it is tried again, in milliseconds from now.
        retry_ms: u64,
    },
    /// A broken post is tried again.
    Tried {
        /// The post.
        post: Post,
    },
    /// A process sends no heartbeat: it gets no new connections.
    Parked {
        /// Its post.
        post: Post,
    },
    /// A process has sent no heartbeat for so long that it is replaced.
    Hung {
        /// Its post.
        post: Post,
        /// Age of its last heartbeat, in milliseconds.
        age_ms: u64,
    },
    /// A process that was told to leave sends no heartbeat for so long that it cannot finish its calls.
    Deaf {
        /// Its post.
        post: Post,
        /// Age of its last heartbeat, in milliseconds.
        age_ms: u64,
    },
    /// A hung process answers again before its successor was ready.
    TakenBack {
        /// Its post.
        post: Post,
    },
    /// A process drains though nobody asked it to.
    LeavesUnasked {
        /// Its post.
        post: Post,
    },
    /// A successor has taken over.
    Succeeded {
        /// Its post.
        post: Post,
    },
    /// A successor died before it took over.
    SuccessorFailed {
        /// Its post.
        post: Post,
    },
    /// The number of workers is to change.
    ScaleBegun {
        /// What was asked for.
        asked: u16,
        /// What it will be.
        workers: u16,
    },
    /// The number of slots is as asked for, and the workers of the new ones serve.
    Scaled {
        /// Worker slots.
        workers: u16,
    },
    /// There are not as many workers as were asked for.
    ScaleFailed {
        /// What was asked for, within the bounds.
        asked: u16,
        /// Worker slots there are.
        workers: u16,
        /// Why.
        reason: ScaleFailure,
    },
    /// The settings are those in force already.
    Unchanged,
    /// Settings, or a program, are in force.
    Reloaded {
        /// What was asked for.
        what: What,
        /// Workers that were replaced for it.
        replaced: u16,
        /// Worker slots there shall be, if that changed.
        workers: Option<u16>,
    },
    /// Settings, or a program, are not in force; those before are.
    ReloadFailed {
        /// What was asked for.
        what: What,
        /// Workers that had been replaced for it and were replaced again.
        replaced: u16,
        /// Workers that work with it all the same: what was to take their place did not start.
        stragglers: u16,
        /// Why.
        reason: ReloadFailure,
    },
    /// A rolling restart begins.
    RestartBegun {
        /// What for.
        purpose: Purpose,
        /// Worker slots it goes through.
        workers: u16,
    },
    /// All workers were replaced.
    Restarted {
        /// What for.
        purpose: Purpose,
        /// Workers that were; a slot without a worker gets a new one anyway.
        workers: u16,
    },
    /// A rolling restart was abandoned; the workers that were not replaced serve on.
    RestartFailed {
        /// What it was for.
        purpose: Purpose,
        /// Workers replaced before.
        replaced: u16,
        /// Why.
        reason: RestartFailure,
    },
    /// A worker has reached a limit: its successor is started.
    RecycleBegun {
        /// Its post.
        post: Post,
        /// Which limit.
        reason: Reason,
    },
    /// A worker that had reached a limit was replaced and has left.
    Recycled {
        /// Its post.
        post: Post,
        /// Which limit.
        reason: Reason,
    },
    /// Nothing ever became ready and nothing will.
    GaveUp {
        /// What the instance exits with.
        exit: Exit,
    },
    /// The instance drains.
    Draining {
        /// When what is left is killed, in milliseconds from now.
        deadline_ms: u64,
    },
}

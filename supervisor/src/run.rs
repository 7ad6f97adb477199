//! The loop: wait, find out what happened, decide, act.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, WaitStatus, wait};
use serde::{Deserialize, Serialize};
use task_mcp_config::Settings;
use task_mcp_config::settings::LogLevel;
use task_mcp_link::{FromProcess, Received};
use task_mcp_scoreboard::{Fold, Role, Scoreboard, ScoreboardError, Seat, SeatState, monotonic_ms};
use tracing::{debug, info, warn};

use crate::control::Server;
use crate::descriptors;
use crate::inherited::{self, Estate};
use crate::instance::Instance;
use crate::launch::{Configured, ReadSettings};
use crate::listen::Listeners;
use crate::memory::{SharedMemory, planned, sealed};
use crate::notify::ServiceManager;
use crate::process::{Lost, Running};
use crate::program::{Installed, Program};
use crate::questions::Questions;
use crate::revision::{Revision, Revisions};
use crate::signals::{Signal, Signals};
use crate::steering::Steering;
use crate::step::{Event, LOOK_MS, Limits, MAX_SLOTS, Policy, Post, State, step};
use crate::tally::Tally;
use crate::upgrade::{Asked, Good};
use crate::{Exit, Launch, Logs, OnReady, SupervisorError};

/// The supervisor's heartbeat comes at least this often, in milliseconds.
const HEARTBEAT_MS: u64 = 1_000;
/// Seat of the supervisor itself.
const OWN_SEAT: u16 = 0;

/// Runs an instance until it is told to stop. Call it from the main thread: processes are told of the death of the thread
/// that started them.
///
/// # Errors
/// What keeps the instance from starting, or the loop from waiting. What happens to processes is not an error here.
pub fn run(launch: Launch) -> Result<Exit, SupervisorError> {
    start(launch, Program::This)
}

/// As [`run`], with processes of another program, which takes the same arguments.
///
/// # Errors
/// As [`run`].
pub fn run_program(launch: Launch, program: &Path) -> Result<Exit, SupervisorError> {
    start(launch, Program::Path(program.to_owned()))
}

fn start(mut launch: Launch, program: Program) -> Result<Exit, SupervisorError> {
    descriptors::take_all();
    let mut supervisor = match launch.taken.take() {
        Some(taken) => Supervisor::take_over(launch, *taken)?,
        None => Supervisor::new(launch, program)?,
    };
    loop {
        supervisor.decide();
        supervisor.tell_manager();
        if let Some(exit) = supervisor.exit {
            return Ok(exit);
        }
        supervisor.wait()?;
        supervisor.take_signals();
        supervisor.hear_processes();
        supervisor.reap_processes();
        supervisor.hear_asked();
        supervisor.flush_links();
        supervisor.expire_questions();
        supervisor.look_after_older();
        supervisor.watch();
        supervisor.serve_control();
    }
}

/// What is remembered of a post beyond its processes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Processes started in the place of another.
    pub(crate) restarts: u64,
    /// How the last one ended.
    pub(crate) last_exit: Option<String>,
}

/// Everything an instance consists of. Dropping it closes the links, which ends the processes.
pub(crate) struct Supervisor {
    pub(crate) state: State,
    /// What happened since the last decision; as many entries as one pass can find.
    pub(crate) events: Vec<Event>,
    pub(crate) exit: Option<Exit>,
    pub(crate) processes: BTreeMap<u64, Running>,
    pub(crate) listeners: Listeners,
    pub(crate) revisions: Revisions,
    pub(crate) read_settings: ReadSettings,
    pub(crate) steering: Steering,
    pub(crate) shared: SharedMemory,
    pub(crate) tally: Tally,
    pub(crate) own_seat: Seat,
    pub(crate) control: Server,
    /// What clients asked the admin process.
    pub(crate) questions: Questions,
    /// What is remembered of each post; as many entries as there were slots.
    pub(crate) records: BTreeMap<Post, Record>,
    pub(crate) extra_args: Vec<String>,
    pub(crate) on_ready: Option<OnReady>,
    pub(crate) build: String,
    pub(crate) manager: ServiceManager,
    /// How the program in the place of this one is started.
    pub(crate) installed: Installed,
    /// The other program, while it is asked, and once it said that it can take over.
    pub(crate) asked: Option<Asked>,
    pub(crate) good: Option<Good>,
    /// It is to take over as soon as everything is decided.
    pub(crate) replaces: bool,
    /// Scoreboards of programs before this one, and of a supervisor that died, as long as processes count on them.
    pub(crate) folds: Vec<Fold>,
    /// When they were last carried over.
    pub(crate) folded_ms: u64,
    pub(crate) logs: Logs,
    /// Asked for over the control socket; wins over the settings until they are read again.
    pub(crate) log_level: Option<LogLevel>,
    pub(crate) signals: Signals,
    /// Process 1 inherits the orphans of its container and must reap them.
    pub(crate) is_init: bool,
    pub(crate) instance: Instance,
}

impl Supervisor {
    fn new(launch: Launch, program: Program) -> Result<Self, SupervisorError> {
        let Launch { configured, read_settings, installed, series, on_ready, build, extra_args, logs, passed, .. } =
            launch;
        let Configured { settings, snapshot } = configured;
        let workers = settings.server.workers.clamp(1, MAX_SLOTS);
        let policy = policy(&settings, workers);
        // Signals first: from here on none can end the supervisor halfway.
        let signals = Signals::take_over()?;
        let instance = Instance::claim(&settings)?;
        let control = Server::open(&control_socket(&settings))?;
        let taken = passed.tell();
        let manager = ServiceManager::from_environment(&taken);
        let Estate { listeners: mut inherited, commons, scoreboard: left_scoreboard } = inherited::sort(taken);
        let listeners =
            Listeners::open(Revisions::FIRST, &settings.server.listen, workers, settings.admin.listen, &mut inherited)?;
        inherited::discard(inherited);
        let series = planned(series, policy.slots_max());
        let shared = SharedMemory::create(policy.seats(), series, commons)?;
        let snapshot = sealed(&snapshot)?;
        let own_seat = Self::own_seat(&shared.scoreboard)?;
        own_seat.begin(std::process::id(), 0, 0, Role::Supervisor, monotonic_ms());
        own_seat.set_state(SeatState::Live);
        let left = left_scoreboard.and_then(left_behind);
        let folds = left.map(|left| Fold::new(left, own_seat.clone())).into_iter().collect();
        Ok(Self {
            state: State::new(policy, Revisions::FIRST, RandomState::new().hash_one(std::process::id())),
            events: vec![Event::Start],
            exit: None,
            processes: BTreeMap::new(),
            tally: Tally::new(&shared.scoreboard, &own_seat),
            listeners,
            revisions: Revisions::new(Revision { settings: Some(settings), snapshot, program, board: 0 }),
            read_settings,
            control,
            questions: Questions::new(monotonic_ms()),
            records: BTreeMap::new(),
            steering: Steering::default(),
            shared,
            own_seat,
            extra_args,
            on_ready: Some(on_ready),
            build,
            logs,
            log_level: None,
            manager,
            signals,
            installed,
            asked: None,
            good: None,
            replaces: false,
            folds,
            folded_ms: 0,
            is_init: std::process::id() == 1,
            instance,
        })
    }

    /// The supervisor's row.
    pub(crate) fn own_seat(scoreboard: &Scoreboard) -> Result<Seat, SupervisorError> {
        let found = scoreboard.seat(OWN_SEAT).ok_or(ScoreboardError::Limit {
            what: "seat of the supervisor",
            found: u64::from(OWN_SEAT),
            limit: u64::from(scoreboard.seats()),
        });
        Ok(found?)
    }

    /// Carries over what the processes of programs before this one count, whose scoreboards stay mapped: they are few. And gives
    /// back what processes hold that a supervisor before this one should have buried.
    fn look_after_older(&mut self) {
        let now_ms = monotonic_ms();
        if now_ms.saturating_sub(self.folded_ms) < HEARTBEAT_MS {
            return;
        }
        self.folded_ms = now_ms;
        self.shared.forget_dead(is_alive);
        for fold in &mut self.folds {
            // The supervisor that would have retired them died before them.
            for seat in fold.running().filter(|seat| !is_alive(seat.pid())) {
                let (pid, lost) = (seat.pid(), seat.retire().in_flight);
                if lost > 0 {
                    warn!(pid, lost_in_flight = lost, "A process of an earlier supervisor died.");
                }
                self.tally.lost(lost);
            }
            let _ = fold.fold();
        }
    }

    /// Decides about everything that happened, then about the time that passed. What acting brings about, as a failed
    /// fork, is decided about in the next pass.
    fn decide(&mut self) {
        for event in std::mem::take(&mut self.events).into_iter().chain([Event::Tick]) {
            for action in step(&mut self.state, event, monotonic_ms()) {
                self.carry_out(action);
            }
        }
        let is_candidate = |event: &Event| matches!(event, Event::Loaded { .. } | Event::TakenOver { .. });
        if !self.events.iter().any(is_candidate) {
            self.revisions.decided();
        }
        if std::mem::take(&mut self.replaces) {
            self.replace_program();
        }
        self.tally.look(&self.state, monotonic_ms());
        self.own_seat.heartbeat(monotonic_ms());
    }

    /// Sleeps until something is readable or due.
    fn wait(&self) -> Result<(), SupervisorError> {
        let now_ms = monotonic_ms();
        let due_ms = if self.events.is_empty() { self.state.next_deadline_ms() } else { Some(now_ms) };
        let longest_ms = if self.state.watches() || self.manager.owes() { LOOK_MS } else { HEARTBEAT_MS };
        let timeout_ms = due_ms.map_or(longest_ms, |due_ms| due_ms.saturating_sub(now_ms).min(longest_ms));
        let timeout = Timespec { tv_sec: (timeout_ms / 1000) as i64, tv_nsec: (timeout_ms % 1000 * 1_000_000) as _ };
        let mut fds: Vec<PollFd<'_>> = self
            .signals
            .fds()
            .chain(self.asked_fds())
            .map(readable)
            .chain(
                self.processes.values().flat_map(Running::polls).map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)),
            )
            .collect();
        fds.extend(self.control.fds(now_ms).map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(SupervisorError::Wait(io::Error::from(errno))),
        }
    }

    fn take_signals(&mut self) {
        for signal in self.signals.received() {
            match signal {
                Signal::Stop => self.events.push(Event::Stop),
                Signal::Reload => self.events.push(Event::Reload),
                Signal::Upgrade => self.events.push(Event::Upgrade),
                Signal::OneMore => self.scale_by(1),
                Signal::OneFewer => self.scale_by(-1),
                // It only ends the wait; every pass reaps.
                Signal::Child => {}
                Signal::ReopenLogs => self.reopen_logs(),
                Signal::Dump => self.dump(),
            }
        }
    }

    /// Counts from what was asked for last, so that signals in a row add up.
    fn scale_by(&mut self, by: i16) {
        let asked = self.events.iter().rev().find_map(|event| match event {
            Event::ScaleTo { workers } => Some(*workers),
            _ => None,
        });
        let workers = asked.unwrap_or_else(|| self.state.target()).saturating_add_signed(by);
        self.scale_to(workers);
    }

    pub(crate) fn hear_processes(&mut self) {
        let generations: Vec<u64> = self.processes.keys().copied().collect();
        generations.into_iter().for_each(|generation| self.hear(generation));
    }

    fn hear(&mut self, generation: u64) {
        let Some(process) = self.processes.get_mut(&generation) else { return };
        let (messages, lost) = process.hear();
        let was_ready = process.is_ready;
        let mut relayed = Vec::new();
        for message in messages {
            match message {
                Received::Message(message) if Self::is_relayed(&message) => relayed.push(message),
                message => {
                    let event = understand(process, generation, message, &self.build);
                    process.is_ready |= matches!(event, Some(Event::Ready { .. }));
                    self.events.extend(event);
                }
            }
        }
        let became_ready = process.is_ready && !was_ready;
        match lost {
            None => {}
            Some(Lost::Closed) => self.events.push(Event::LinkLost { generation }),
            Some(lost @ (Lost::Io(_) | Lost::Message(_))) => {
                warn!(process = %process.post, generation, error = &lost as &dyn std::error::Error, "A link broke.");
                self.events.push(Event::LinkLost { generation });
            }
        }
        if became_ready {
            self.catch_up(generation);
            self.resync_one(generation);
        }
        relayed.into_iter().for_each(|message| self.relay(generation, message));
    }

    fn reap_processes(&mut self) {
        let mut dead: Vec<(u64, Option<WaitStatus>)> = Vec::new();
        if self.is_init {
            while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                if let Some(asked) = self.asked.as_mut().filter(|asked| asked.pid == pid) {
                    asked.status = Some(status);
                    continue;
                }
                match self.processes.iter().find(|(_, process)| process.pid == pid) {
                    Some((generation, _)) => dead.push((*generation, Some(status))),
                    None => debug!(pid = pid.as_raw_nonzero().get(), "An orphan of another process was reaped."),
                }
            }
        } else {
            dead.extend(self.processes.iter().filter_map(|(generation, process)| Some((*generation, process.reap()?))));
        }
        for (generation, status) in dead {
            self.bury(generation, status);
        }
    }

    /// Takes leave of a reaped process: its last words, what it left unfinished, its seat.
    fn bury(&mut self, generation: u64, status: Option<WaitStatus>) {
        self.hear(generation);
        self.forget_questions(generation);
        let Some(process) = self.processes.remove(&generation) else { return };
        let left = process.seat.retire();
        // A stream is the answer of a request in flight, so it is not lost twice.
        let lost = left.in_flight;
        if process.board > 0 {
            self.folded_ms = 0;
        }
        self.tally.lost(lost);
        let code = status.and_then(WaitStatus::exit_status);
        let signal = status.and_then(WaitStatus::terminating_signal);
        let pid = process.pid.as_raw_nonzero().get();
        self.shared.forget(pid.unsigned_abs());
        if !process.was_aborted {
            signal.into_iter().for_each(|signal| self.shared.suspect(signal));
        }
        let post = process.post;
        if code == Some(0) && lost == 0 {
            info!(process = %post, pid, generation, "A process has left.");
        } else {
            warn!(
                process = %post, pid, generation, code, signal,
                lost_in_flight = left.in_flight, lost_streams = left.open_streams, "A process died."
            );
        }
        self.records.entry(post).or_default().last_exit = Some(exit_text(code, signal));
        self.events.push(Event::Exited { generation, code, lost });
    }
}

/// Logs a message and says what it means for decisions.
fn understand(process: &Running, generation: u64, message: Received<FromProcess>, build: &str) -> Option<Event> {
    let post = process.post;
    match message {
        Received::Unknown { name, .. } => {
            debug!(process = %post, generation, message = name, "A process sent a message this version does not know.");
            None
        }
        Received::Message(FromProcess::Hello { pid, generation: told, seat, build: theirs }) => {
            if told != generation || seat != process.seat_index || theirs != build {
                warn!(process = %post, pid, generation, told, seat, build = theirs, "A process is not what was started.");
            }
            None
        }
        Received::Message(FromProcess::Ready { listening }) => {
            info!(process = %post, generation, ?listening, "A process is ready.");
            Some(Event::Ready { generation })
        }
        Received::Message(FromProcess::Applied { revision }) => {
            debug!(process = %post, generation, revision, "A process has taken settings over.");
            Some(Event::Applied { generation, revision })
        }
        Received::Message(FromProcess::Draining) => {
            debug!(process = %post, generation, "A process drains.");
            Some(Event::Draining { generation })
        }
        Received::Message(FromProcess::Drained { forced }) => {
            debug!(process = %post, generation, forced, "A process has drained.");
            Some(Event::Drained { generation, forced })
        }
        Received::Message(FromProcess::Fatal { exit_code, reason }) => {
            warn!(process = %post, generation, exit_code, reason, "A process cannot go on.");
            Some(Event::Fatal { generation, exit_code })
        }
        // They are for others: see `relay.rs`.
        Received::Message(FromProcess::Publish { .. } | FromProcess::PublishLost | FromProcess::Answered { .. }) => {
            None
        }
    }
}

/// The scoreboard that a supervisor left when it died: what its processes have counted, and still count, is not forgotten.
fn left_behind(fd: OwnedFd) -> Option<Scoreboard> {
    Scoreboard::open(fd)
        .inspect_err(|error| warn!(error = %error, "The counts that an earlier supervisor left cannot be read."))
        .ok()
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// The default is that of the settings, for settings that were not completed.
fn control_socket(settings: &Settings) -> PathBuf {
    let path = &settings.supervisor.control_socket;
    if path.as_os_str().is_empty() { settings.supervisor.runtime_dir.join("control.sock") } else { path.clone() }
}

fn exit_text(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

pub(crate) fn policy(settings: &Settings, workers: u16) -> Policy {
    Policy {
        workers,
        boot_timeout_ms: settings.supervisor.boot_timeout_s.saturating_mul(1000),
        drain_timeout_ms: settings.supervisor.drain_timeout_s.saturating_mul(1000),
        restart_delay_ms: settings.supervisor.restart_delay_ms,
        restart_delay_max_ms: settings.supervisor.restart_delay_max_ms,
        restart_limit: settings.supervisor.restart_limit,
        recycle: Limits {
            age_ms: settings.supervisor.recycle_after_s.saturating_mul(1000),
            requests: settings.supervisor.recycle_requests,
            rss_bytes: settings.supervisor.recycle_rss_bytes,
        },
    }
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}

//! Does what was decided.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use task_mcp_link::{MAX_DESCRIPTORS, ToProcess};
use task_mcp_scoreboard::SeatState;
use tracing::{debug, error, info, warn};

use crate::Ready;
use crate::control::Awaits;
use crate::process::{Link, Running};
use crate::run::Supervisor;
use crate::spawn::{Order, spawn};
use crate::starved::Starvation;
use crate::step::{Action, Event, KillReason, Notice, Post, RestartFailure, What};

impl Supervisor {
    /// Carries out one action. A failure becomes an event of the next pass.
    pub(crate) fn carry_out(&mut self, action: Action) {
        match action {
            Action::Load => {
                self.control.begin(Awaits::Reload { begun: false }, Awaits::Reload { begun: true });
                self.load();
            }
            Action::Apply { generation, revision } => self.apply(generation, revision),
            Action::Keep { revisions } => self.keep(&revisions),
            Action::Check => {
                self.control.begin(Awaits::Upgrade { begun: false }, Awaits::Upgrade { begun: true });
                self.check_program();
            }
            Action::GiveCheckUp => self.give_check_up(),
            Action::Replace => self.replaces = true,
            Action::Spawn { post, generation, seat, revision, restart } => {
                self.start(post, generation, seat, revision, restart);
            }
            Action::Drain { generation, deadline_ms } => self.drain(generation, deadline_ms),
            Action::Kill { generation, reason } => self.kill(generation, reason),
            Action::Abort { generation } => self.abort(generation),
            Action::OpenSlot { slot } => self.open_slot(slot),
            Action::CloseSlot { slot } => {
                self.listeners.close_slot();
                info!(slot, "A slot was closed.");
            }
            Action::Adopt { slot, by } => self.adopt(slot, by),
            Action::Steer { open } => self.steer(&open),
            Action::AnnounceReady { workers } => self.announce(workers),
            Action::Tell(notice) => {
                match notice {
                    Notice::Reloaded { .. } => self.apply_log_settings(),
                    Notice::Unchanged => self.forget_log_level(),
                    _ => {}
                }
                self.tell(notice);
                self.tally.told(notice);
                self.tell_clients(notice);
            }
            Action::Exit(exit) => self.exit = Some(exit),
        }
    }

    fn start(&mut self, post: Post, generation: u64, seat: u16, revision: u64, restart: bool) {
        match self.spawn(post, generation, seat, revision) {
            Ok(process) => {
                let pid = process.pid.as_raw_nonzero().get();
                info!(process = %post, pid, generation, seat, revision, "A process was started.");
                self.processes.insert(generation, process);
                self.tally.started(post, restart);
                if restart {
                    self.records.entry(post).or_default().restarts += 1;
                }
            }
            Err(source) => {
                let program = self.revisions.get(revision).map(|with| with.program.path());
                error!(process = %post, generation, revision, ?program, error = %source, "A process could not be started.");
                self.events.push(Event::SpawnFailed { generation });
            }
        }
    }

    fn spawn(&self, post: Post, generation: u64, seat_index: u16, revision: u64) -> io::Result<Running> {
        let (ours, theirs) = UnixStream::pair()?;
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let with = self.revisions.get(revision).ok_or_else(missing)?;
        let listeners = match post {
            Post::Worker(slot) => self.listeners.of_slot(revision, slot),
            Post::Admin => self.listeners.admin(revision).map(|socket| vec![socket]),
        };
        let listeners = listeners.ok_or_else(missing)?;
        let scoreboard = self.scoreboard(with.board).ok_or_else(missing)?;
        let seat = scoreboard.seat(seat_index).ok_or_else(missing)?;
        let link = Some(Link::new(ours)?);
        let spawned = spawn(&Order {
            program: &with.program.path(),
            post,
            generation,
            seat: seat_index,
            // Our copy is closed on return: the end of the process is the end of the link.
            link: theirs.as_fd(),
            settings: with.snapshot.as_fd(),
            scoreboard: scoreboard.as_fd(),
            commons: self.shared.commons.as_fd(),
            listeners: &listeners,
            extra_args: &self.extra_args,
        })?;
        Ok(Running {
            post,
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            seat,
            seat_index,
            board: with.board,
            revision,
            starvation: Starvation::default(),
            is_ready: false,
            owes_reopen: false,
            was_aborted: false,
            link,
        })
    }

    fn drain(&mut self, generation: u64, deadline_ms: u64) {
        let Some(process) = self.processes.get_mut(&generation) else { return };
        if let Err(lost) = process.tell(&ToProcess::Drain { deadline_ms }, &[]) {
            warn!(process = %process.post, generation, error = %lost, "A process could not be told to drain.");
            self.events.push(Event::LinkLost { generation });
        }
    }

    fn adopt(&mut self, slot: u16, by: u64) {
        let sockets = self.listeners.sockets(slot);
        let Some(process) = self.processes.get_mut(&by) else { return };
        debug!(slot, process = %process.post, generation = by, "A worker adopts what waits for another.");
        // While addresses change there may be more than one message takes.
        for some in sockets.chunks(MAX_DESCRIPTORS) {
            if let Err(lost) = process.tell(&ToProcess::Adopt { slot, sockets: some.len() }, some) {
                warn!(process = %process.post, generation = by, error = %lost, "A process could not be told to adopt.");
                self.events.push(Event::LinkLost { generation: by });
                return;
            }
        }
    }

    fn kill(&self, generation: u64, reason: KillReason) {
        let Some(process) = self.processes.get(&generation) else { return };
        let pid = process.pid.as_raw_nonzero().get();
        match process.signal(Signal::KILL) {
            Ok(()) => {
                warn!(process = %process.post, pid, generation, ?reason, "A process was killed.");
                // A hung process was counted when it was sent SIGABRT.
                if reason != KillReason::Hung {
                    self.tally.killed(reason);
                }
            }
            // It is dead already and about to be reaped.
            Err(source) => info!(process = %process.post, pid, generation, error = %source, "A kill came too late."),
        }
    }

    fn abort(&mut self, generation: u64) {
        let Some(process) = self.processes.get_mut(&generation) else { return };
        process.was_aborted = true;
        let pid = process.pid.as_raw_nonzero().get();
        match process.signal(Signal::ABORT) {
            Ok(()) => {
                warn!(process = %process.post, pid, generation, "A hung process was sent SIGABRT.");
                self.tally.killed(KillReason::Hung);
            }
            Err(source) => info!(process = %process.post, pid, generation, error = %source, "A kill came too late."),
        }
    }

    fn open_slot(&mut self, slot: u16) {
        let opened = self.listeners.open_slot();
        match &opened {
            Ok(()) => info!(slot, "A slot was opened."),
            Err(source) => error!(slot, error = %source, "The sockets of a further slot could not be opened."),
        }
        self.events.push(Event::SlotOpened { ok: opened.is_ok() });
    }

    /// A group that only some settings name goes to the slots whose workers listen to it; while there are none, to all.
    fn steer(&mut self, open: &[(u16, u64)]) {
        debug!(?open, "New connections are steered.");
        for (group, has) in self.listeners.groups() {
            let all = open.iter().map(|(slot, _)| *slot);
            let those: Vec<u16> = open.iter().filter(|(_, revision)| has(*revision)).map(|(slot, _)| *slot).collect();
            self.steering.steer(&group, &if those.is_empty() { all.collect() } else { those });
        }
    }

    fn announce(&mut self, workers: u16) {
        let Some(on_ready) = self.on_ready.take() else { return };
        let Some(admin) = self.listeners.admin_address(self.state.revision()) else { return };
        let ready = Ready { endpoints: self.listeners.endpoints(self.state.revision()), admin, workers };
        info!(endpoints = ?ready.endpoints, admin = %ready.admin, workers, "The instance is ready.");
        on_ready(&ready);
    }

    fn tell(&self, notice: Notice) {
        match notice {
            Notice::Replaced { post } => info!(process = %post, "A process is replaced at once."),
            Notice::BackedOff { post, delay_ms, early_deaths } => {
                warn!(process = %post, delay_ms, early_deaths, "A process died early and is replaced after a delay.");
            }
            Notice::Broken { post, retry_ms } => {
                error!(process = %post, retry_ms, "A process died early too often or cannot start; it is left alone for a while.");
            }
            Notice::Tried { post } => info!(process = %post, "A process that died too often is tried again."),
            Notice::Parked { post } => {
                debug!(process = %post, "A process sends no heartbeat and gets no new connections.");
            }
            Notice::Hung { post, age_ms } => {
                warn!(process = %post, age_ms, "A process hangs: it sends no heartbeat. Its successor is started.");
            }
            Notice::TakenBack { post } => {
                warn!(process = %post, "A process that hung answers again and stays.");
            }
            Notice::Deaf { post, age_ms } => {
                warn!(process = %post, age_ms, "A process that was told to leave sends no heartbeat and cannot finish its calls.");
            }
            Notice::LeavesUnasked { post } => {
                warn!(process = %post, "A process drains though the supervisor did not ask it to; it is replaced.");
            }
            Notice::Succeeded { post } => info!(process = %post, "A successor has taken over."),
            Notice::SuccessorFailed { post } => error!(process = %post, "A successor died before it took over."),
            Notice::ScaleBegun { asked, workers } => info!(asked, workers, "The number of workers is to change."),
            Notice::Scaled { workers } => info!(workers, "There are as many workers as were asked for."),
            Notice::ScaleFailed { asked, workers, reason } => {
                error!(asked, workers, ?reason, "There are not as many workers as were asked for.");
            }
            Notice::RestartBegun { purpose, workers } => info!(?purpose, workers, "A rolling restart begins."),
            Notice::Restarted { purpose, workers } => info!(?purpose, workers, "All workers were replaced."),
            Notice::RestartFailed { purpose, replaced, reason: RestartFailure::Stopping } => {
                info!(?purpose, replaced, "The rolling restart was abandoned: the instance stops.");
            }
            Notice::RestartFailed { purpose, replaced, reason } => {
                error!(?purpose, replaced, ?reason, "The rolling restart was abandoned; the other workers serve on.");
            }
            Notice::Unchanged => {}
            Notice::Reloaded { what: What::Settings, replaced, .. } => {
                info!(replaced, revision = self.state.revision(), "The settings are in force.");
            }
            Notice::Reloaded { what: What::Program, replaced, .. } => {
                info!(replaced, revision = self.state.revision(), "The new program is in force.");
            }
            Notice::ReloadFailed { what: What::Settings, replaced, stragglers, reason } => {
                error!(replaced, stragglers, ?reason, "The settings are not in force; those before are.");
            }
            Notice::ReloadFailed { what: What::Program, replaced, stragglers, reason } => {
                error!(replaced, stragglers, ?reason, "The new program is not in force; the one before goes on.");
            }
            Notice::RecycleBegun { post, reason } => {
                info!(process = %post, ?reason, "A worker has reached a limit and is recycled: its successor is started.");
            }
            Notice::Recycled { post, reason } => info!(process = %post, ?reason, "A worker was recycled."),
            Notice::GaveUp { exit } => {
                error!(exit_code = exit.code(), "No process ever became ready; see its last message above. Giving up.");
            }
            Notice::Draining { deadline_ms } => {
                self.own_seat.set_state(SeatState::Draining);
                info!(deadline_ms, "The instance drains.");
            }
        }
    }
}

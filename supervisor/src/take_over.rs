//! Going on with an instance that another program handed over: the counterpart of `upgrade.rs`.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use rustix::process::Pid;
use task_mcp_link::told;
use task_mcp_scoreboard::{Commons, Fold, Plan, Role, Scoreboard, SeatState, monotonic_ms};
use tracing::{info, warn};

use crate::SupervisorError;
use crate::control::Server;
use crate::handover::{Saved, SavedProcess, Taken};
use crate::inherited::SCOREBOARD_NAME;
use crate::instance::Instance;
use crate::launch::Launch;
use crate::listen::Listeners;
use crate::memory::{SharedMemory, planned};
use crate::notify::ServiceManager;
use crate::process::{Link, Running};
use crate::program::{Installed, Program};
use crate::questions::Questions;
use crate::revision::{Revision, Revisions};
use crate::run::{Supervisor, policy};
use crate::signals::Signals;
use crate::spawn::take_over;
use crate::starved::Starvation;
use crate::steering::Steering;
use crate::step::{Change, Event};
use crate::tally::Tally;

impl Supervisor {
    /// Goes on with an instance that another program handed over.
    pub(crate) fn take_over(launch: Launch, taken: Taken) -> Result<Self, SupervisorError> {
        let Launch { configured, read_settings, installed, series, build, extra_args, on_ready, logs, .. } = launch;
        let Saved {
            build: earlier,
            started_ms,
            installed_at,
            state,
            lock,
            state_lock,
            control,
            listeners,
            boards,
            commons,
            revisions,
            programs,
            processes,
            records,
            events,
            ..
        } = taken.saved;
        let lost = SupervisorError::TakeOver;
        // Where it is installed, whatever has happened to the file since.
        let installed = Installed { path: installed_at, ..installed };
        // It was executed by the number of a descriptor; the kernel keeps 15 characters of a better name, for people.
        let _ = std::fs::write("/proc/self/comm", "task-mcp");
        let signals = Signals::take_over()?;
        let plan = Plan { seats: state.seats(), series: planned(series, state.slots_max()) };
        let commons = Commons::open(take_over(commons).map_err(lost)?)?;
        let mut maps = Vec::with_capacity(boards.len());
        for board in boards {
            maps.push((Scoreboard::open(take_over(board.fd).map_err(lost)?)?, board.seen));
        }
        let goes_on = maps.first().is_some_and(|(board, _)| board.fits(&plan));
        if !goes_on {
            maps.insert(0, (Scoreboard::create(&plan)?, Vec::new()));
        }
        let mut maps = maps.into_iter();
        let Some((scoreboard, _)) = maps.next() else { return Err(lost(ErrorKind::InvalidData.into())) };
        let own_seat = Self::own_seat(&scoreboard)?;
        if !goes_on {
            own_seat.begin(std::process::id(), 0, 0, Role::Supervisor, started_ms);
            own_seat.set_state(SeatState::Live);
        }
        // The manager keeps the others already, and knows that they are the same.
        let before: Vec<OwnedFd> = maps.as_slice().iter().filter_map(|(board, _)| board.try_clone_fd().ok()).collect();
        let outdated: Vec<(String, OwnedFd)> =
            before.into_iter().map(|board| (SCOREBOARD_NAME.to_owned(), board)).collect();
        let manager = ServiceManager::from_environment(&outdated);
        let folds: Vec<Fold> = maps.map(|(board, seen)| Fold::resume(board, own_seat.clone(), &seen)).collect();
        let mut supervisor = Self {
            tally: Tally::new(&scoreboard, &own_seat),
            listeners: Listeners::restore(listeners).map_err(lost)?,
            control: Server::restore(control, monotonic_ms()).map_err(lost)?,
            questions: Questions::new(monotonic_ms()),
            instance: Instance::restore(
                take_over(lock).map_err(lost)?,
                state_lock.map(take_over).transpose().map_err(lost)?,
            ),
            revisions: Revisions::restore(revisions, programs, usize::from(!goes_on)).map_err(lost)?,
            records: records.into_iter().collect(),
            processes: std::collections::BTreeMap::new(),
            state,
            shared: SharedMemory { scoreboard, commons },
            folds,
            own_seat,
            installed,
            read_settings,
            events,
            exit: None,
            steering: Steering::default(),
            extra_args,
            on_ready: Some(on_ready),
            asked: None,
            good: None,
            signals,
            is_init: std::process::id() == 1,
            folded_ms: 0,
            replaces: false,
            // The settings were read anew.
            log_level: None,
            manager,
            logs,
            build,
        };
        for process in processes {
            let (generation, board) = (process.generation, process.board + usize::from(!goes_on));
            let running = supervisor.resume(process, board).map_err(lost)?;
            supervisor.processes.insert(generation, running);
        }
        // Events, and whose answers were awaited, were not handed over.
        supervisor.resync_all(None);
        supervisor.give_up_questions();
        info!(before = earlier, now = supervisor.build, "This program has taken the instance over.");
        supervisor.replace_all(configured);
        Ok(supervisor)
    }

    fn resume(&self, saved: SavedProcess, board: usize) -> io::Result<Running> {
        let missing = || io::Error::from(ErrorKind::NotFound);
        let scoreboard = self.scoreboard(board).ok_or_else(missing)?;
        let seat = scoreboard.seat(saved.seat).ok_or_else(missing)?;
        // One that is about to say so hears once more what it may have heard.
        let is_ready = matches!(seat.state(), SeatState::Live | SeatState::Draining);
        Ok(Running {
            post: saved.post,
            pid: Pid::from_raw(saved.pid).ok_or_else(missing)?,
            pidfd: take_over(saved.pidfd)?,
            seat,
            seat_index: saved.seat,
            board,
            revision: saved.revision,
            starvation: Starvation::default(),
            is_ready,
            owes_reopen: !is_ready,
            was_aborted: false,
            link: match saved.link {
                Some(link) => Some(Link::restore(take_over(link.stream)?, &link.read, link.unwritten)?),
                None => None,
            },
        })
    }

    /// The scoreboard of a place: 0 is the one in use, then older ones.
    pub(crate) fn scoreboard(&self, place: usize) -> Option<&Scoreboard> {
        match place.checked_sub(1) {
            None => Some(&self.shared.scoreboard),
            Some(older) => self.folds.get(older).map(Fold::old),
        }
    }

    /// Asks for every process to be replaced by one of this program with the settings it has read.
    fn replace_all(&mut self, configured: crate::Configured) {
        let wanted = configured.settings.server.workers;
        let before = self.revisions.get(self.state.revision()).and_then(Revision::workers);
        let policy = policy(&configured.settings, wanted);
        let objection = self.objection(&configured.settings);
        let added = match objection {
            Some(reason) => Err(reason),
            None => self.add_revision(configured, Program::This, 0).map_err(|error| told(&error)),
        };
        let event = match added {
            Ok(revision) => {
                let workers = Some(wanted.min(self.state.slots_max())).filter(|_| before != Some(wanted));
                let change = Change { policy, workers, new_workers: true, new_admin: true };
                Event::TakenOver { revision, change }
            }
            Err(reason) => {
                warn!(reason, "The settings this program has read cannot be had; the processes before go on.");
                self.revisions.refusal = Some(reason);
                Event::NotReplaced
            }
        };
        self.events.push(event);
    }
}

//! The logs of all processes: their level, their file, and the state of everything as log lines.

use task_mcp_config::settings::LogLevel;
use task_mcp_link::ToProcess;
use task_mcp_scoreboard::{SeatState, monotonic_ms};
use tracing::{info, warn};

use crate::control::{SlotStatus, Status};
use crate::run::Supervisor;
use crate::step::Event;

impl Supervisor {
    /// Takes over the log's part of the settings in force; what was asked for over the control socket is forgotten. The processes
    /// hear of it with their settings.
    pub(crate) fn apply_log_settings(&mut self) {
        self.log_level = None;
        let settings = self.revisions.settings(self.state.revision());
        if let Some(settings) = settings {
            (self.logs.apply)(&settings.telemetry);
        }
    }

    /// The settings were read again and are the same: what was asked for over the control socket ends all the same.
    pub(crate) fn forget_log_level(&mut self) {
        let settings = self.revisions.settings(self.state.revision());
        if let (Some(_), Some(level)) = (self.log_level, settings.map(|settings| settings.telemetry.log_level)) {
            self.set_log_level(level);
            self.log_level = None;
        }
    }

    /// Changes the level everywhere.
    pub(crate) fn set_log_level(&mut self, level: LogLevel) {
        self.log_level = Some(level);
        (self.logs.set_level)(level);
        info!(level = level.word(), "The log level was changed in all processes.");
        self.tell_all(&ToProcess::LogLevel { level: level.word().to_owned() });
    }

    /// Tells a process that has become ready what it was not told while it booted: the level that was asked for, if one was, as its
    /// settings do not say it, and to open the log file anew.
    pub(crate) fn catch_up(&mut self, generation: u64) {
        if let Some(level) = self.log_level {
            self.tell_one(generation, &ToProcess::LogLevel { level: level.word().to_owned() });
        }
        let process = self.processes.get_mut(&generation);
        if process.is_some_and(|process| std::mem::take(&mut process.owes_reopen)) {
            self.tell_one(generation, &ToProcess::ReopenLogs);
        }
    }

    /// Opens the log file anew everywhere.
    pub(crate) fn reopen_logs(&mut self) {
        (self.logs.reopen)();
        for process in self.processes.values_mut().filter(|process| !process.is_ready) {
            process.owes_reopen = true;
        }
        self.tell_all(&ToProcess::ReopenLogs);
    }

    /// A process that boots reads nothing yet, and enough messages would fill its link: it hears of it when it is ready.
    fn tell_all(&mut self, message: &ToProcess) {
        let ready = self.processes.iter().filter(|(_, process)| process.is_ready);
        let generations: Vec<u64> = ready.map(|(generation, _)| *generation).collect();
        generations.into_iter().for_each(|generation| self.tell_one(generation, message));
    }

    fn tell_one(&mut self, generation: u64, message: &ToProcess) {
        let Some(process) = self.processes.get_mut(&generation).filter(|process| process.link.is_some()) else {
            return;
        };
        if let Err(lost) = process.tell(message, &[]) {
            warn!(process = %process.post, generation, error = %lost, "A process could not be told about its log.");
            self.events.push(Event::LinkLost { generation });
        }
    }

    /// Writes the state of everything to the log: a line for the instance and one for each slot.
    pub(crate) fn dump(&self) {
        let Status { pid, build, uptime_ms, draining, restarting, workers, slots, .. } = self.status();
        warn!(
            pid,
            build,
            uptime_ms,
            draining,
            restarting,
            workers,
            processes = self.processes.len(),
            "State of the instance."
        );
        slots.iter().for_each(|slot| self.dump_slot(slot));
    }

    fn dump_slot(&self, slot: &SlotStatus) {
        let seat = slot.generation.and_then(|generation| self.processes.get(&generation)).map(|process| &process.seat);
        // Before the process takes its seat, the words are those of the last one.
        let seat = seat.filter(|seat| Some(seat.generation()) == slot.generation);
        let beats = seat.filter(|seat| matches!(seat.state(), SeatState::Live | SeatState::Draining));
        warn!(
            process = slot.name,
            state = slot.state,
            pid = slot.pid,
            generation = slot.generation,
            second = slot.second.as_ref().map(|second| second.state.as_str()),
            second_pid = slot.second.as_ref().and_then(|second| second.pid),
            heartbeat_age_ms = beats.map(|seat| monotonic_ms().saturating_sub(seat.heartbeat_ms())),
            in_flight = slot.in_flight,
            streams = slot.open_streams,
            connections = seat.map(task_mcp_scoreboard::Seat::open_connections),
            waiting = slot.waiting,
            restarts = slot.restarts,
            last_exit = slot.last_exit,
            "State of a slot."
        );
    }
}

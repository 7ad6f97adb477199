//! The instance as the service manager is told of it.

use std::os::fd::AsFd;

use task_mcp_scoreboard::monotonic_ms;

use crate::inherited::{COMMONS_NAME, SCOREBOARD_NAME};
use crate::notify::{Life, Picture};
use crate::run::Supervisor;

impl Supervisor {
    /// Tells the service manager what has changed, and what it is to keep. Once in every pass of the loop.
    pub(crate) fn tell_manager(&mut self) {
        if !self.manager.listens() {
            return;
        }
        let memory = [(COMMONS_NAME, self.shared.commons.as_fd()), (SCOREBOARD_NAME, self.shared.scoreboard.as_fd())];
        let memory = memory.map(|(name, fd)| (name.to_owned(), fd));
        let now_ms = monotonic_ms();
        self.manager.keep(self.listeners.named().chain(memory).collect(), now_ms);
        let picture = self.picture();
        self.manager.tell(&picture, now_ms);
    }

    fn picture(&self) -> Picture {
        let state = &self.state;
        let life = if state.drains() {
            Life::Stopping
        } else if !state.is_announced() {
            Life::Starting
        } else if state.restarts() || state.reloads() {
            Life::Reloading
        } else {
            Life::Serving
        };
        let workers = format!("{} of {} workers live", state.live_workers(), state.worker_slots());
        let broken = match state.broken_slots() {
            0 => String::new(),
            1 => ", 1 slot broken".to_owned(),
            broken => format!(", {broken} slots broken"),
        };
        let status = match life {
            Life::Starting => format!("Starting: {workers}{broken}"),
            Life::Serving => format!("Serving: {workers}{broken}"),
            Life::Reloading if state.restarts() => format!("Replacing the workers one by one: {workers}{broken}"),
            Life::Reloading => format!("Reloading: {workers}{broken}"),
            Life::Stopping => match self.processes.len() {
                0 => "Stopped".to_owned(),
                1 => "Draining: 1 process left".to_owned(),
                left => format!("Draining: {left} processes left"),
            },
        };
        Picture { life, works: life == Life::Stopping || state.live_workers() > 0, status }
    }
}

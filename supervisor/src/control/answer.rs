//! What the supervisor does with a request.

use task_mcp_scoreboard::monotonic_ms;

use super::message::{Request, Response, SecondStatus, SlotStatus, Status};
use super::server::Awaits;
use crate::run::Supervisor;
use crate::step::{Event, Notice, Post, RestartFailure, SlotReport};

impl Supervisor {
    /// Takes the requests that came and answers those that can be answered at once.
    pub(crate) fn serve_control(&mut self) {
        for (client, request) in self.control.serve(monotonic_ms()) {
            tracing::info!(?request, "A request came over the control socket.");
            match request {
                Request::Status => {
                    let status = self.status();
                    self.control.answer(client, &Response::Status(status));
                }
                Request::Restart => {
                    self.control.await_for(client, Awaits::Restart);
                    self.events.push(Event::Restart);
                }
                Request::Scale { workers } => {
                    self.control.await_for(client, Awaits::Scale);
                    self.events.push(Event::ScaleTo { workers });
                }
                Request::Stop => {
                    self.control.answer(client, &done("The instance drains and ends; the second time, at once."));
                    self.events.push(Event::Stop);
                }
                Request::Drain => {
                    self.control.answer(client, &done("The instance drains and ends."));
                    if !self.state.drains() && !self.events.contains(&Event::Stop) {
                        self.events.push(Event::Stop);
                    }
                }
            }
        }
    }

    /// Tells those who wait for it.
    pub(crate) fn tell_clients(&mut self, notice: Notice) {
        match notice {
            Notice::Restarted { workers } => {
                self.control.fulfil(Awaits::Restart, &done(&format!("{workers} workers were replaced.")));
            }
            Notice::RestartFailed { replaced, reason } => {
                let why = match reason {
                    RestartFailure::Stopping => "the instance stops".to_owned(),
                    RestartFailure::Died { post } => {
                        format!("the new process of {post} died; its last message is in the log")
                    }
                };
                let reason = format!("The restart was abandoned after {replaced} workers: {why}. The others serve on.");
                self.control.fulfil(Awaits::Restart, &Response::Failed { reason });
            }
            Notice::Scaled { workers } => {
                self.control.fulfil(Awaits::Scale, &done(&format!("There are {workers} worker slots.")));
            }
            Notice::ScaleFailed { workers } => {
                let reason = format!(
                    "There are {workers} worker slots: a further one could not be opened, or the instance stops."
                );
                self.control.fulfil(Awaits::Scale, &Response::Failed { reason });
            }
            Notice::Draining { .. } => {
                let reason = "The instance stops.".to_owned();
                self.control.fulfil(Awaits::Scale, &Response::Failed { reason });
            }
            _ => {}
        }
    }

    fn status(&self) -> Status {
        Status {
            pid: std::process::id(),
            build: self.build.clone(),
            uptime_ms: monotonic_ms().saturating_sub(self.own_seat.started_ms()),
            draining: self.state.drains(),
            restarting: self.state.restarts(),
            endpoints: self.listeners.endpoints.clone(),
            admin: self.listeners.admin_address,
            workers: self.state.target(),
            slots: self.state.report().map(|slot| self.slot_status(&slot)).collect(),
        }
    }

    fn slot_status(&self, slot: &SlotReport) -> SlotStatus {
        let process = |generation: u64| self.processes.get(&generation);
        let pid = |generation: u64| Some(process(generation)?.pid.as_raw_nonzero().get().unsigned_abs());
        let both = || slot.generation.into_iter().chain(slot.second.map(|(_, generation)| generation));
        let seats = || both().filter_map(process).map(|process| &process.seat);
        let record = self.records.get(&slot.post);
        SlotStatus {
            name: slot.post.to_string(),
            state: slot.state.to_owned(),
            pid: slot.generation.and_then(pid),
            generation: slot.generation,
            second: slot.second.map(|(state, generation)| SecondStatus {
                state: state.to_owned(),
                pid: pid(generation),
                generation,
            }),
            restarts: record.map_or(0, |record| record.restarts),
            waiting: match slot.post {
                Post::Worker(number) => self.listeners.waiting(number),
                Post::Admin => crate::queue::waiting(&self.listeners.admin).unwrap_or(0),
            },
            in_flight: seats().map(task_mcp_scoreboard::Seat::in_flight).sum(),
            open_streams: seats().map(task_mcp_scoreboard::Seat::open_streams).sum(),
            last_exit: record.and_then(|record| record.last_exit.clone()),
        }
    }
}

fn done(message: &str) -> Response {
    Response::Done { message: message.to_owned() }
}

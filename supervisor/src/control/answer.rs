//! What the supervisor does with a request.

use task_mcp_scoreboard::monotonic_ms;

use super::message::{Request, Response, SecondStatus, SlotStatus, Status};
use super::server::Awaits;
use crate::run::Supervisor;
use crate::step::{Event, Notice, Post, Purpose, ReloadFailure, RestartFailure, ScaleFailure, SlotReport, What};

impl Supervisor {
    /// Takes the requests that came and answers those that can be answered at once.
    pub(crate) fn serve_control(&mut self) {
        for (client, request) in self.control.serve(monotonic_ms()) {
            if request == Request::Status {
                tracing::debug!(?request, "A request came over the control socket.");
            } else {
                tracing::info!(?request, "A request came over the control socket.");
            }
            match request {
                Request::Status => {
                    let status = self.status();
                    self.control.answer(client, &Response::Status(status));
                }
                Request::Restart => {
                    if self.control.await_for(client, Awaits::Restart) {
                        self.events.push(Event::Restart);
                    }
                }
                Request::Reload => {
                    if self.control.await_for(client, Awaits::Reload { begun: false }) {
                        self.events.push(Event::Reload);
                    }
                }
                Request::Upgrade => {
                    if self.control.await_for(client, Awaits::Upgrade { begun: false }) {
                        self.events.push(Event::Upgrade);
                    }
                }
                Request::Scale { workers } => self.asked_to_scale(client, workers),
                Request::LogLevel { level } => {
                    self.set_log_level(level);
                    let message =
                        format!("All processes log at level {} until the settings are read again.", level.word());
                    self.control.answer(client, &done(&message));
                }
                Request::Ask { question } => self.ask(client, &question),
                Request::Stop => {
                    self.control.answer(client, &done("The instance drains and ends; the second time, at once."));
                    self.events.push(Event::Stop);
                }
                Request::Drain => {
                    self.control.answer(client, &done("The instance drains and ends."));
                    self.events.push(Event::Drain);
                }
            }
        }
    }

    fn asked_to_scale(&mut self, client: u64, workers: u16) {
        let most = self.state.slots_max();
        if !(1..=most).contains(&workers) {
            let reason =
                format!("This instance may have 1 to {most} workers while it runs, and {workers} were asked for.");
            self.control.answer(client, &Response::Failed { reason });
        } else if self.control.await_for(client, Awaits::Scale { workers }) {
            self.scale_to(workers);
        }
    }

    /// Goes for another number of workers; whoever waits for an earlier one waits in vain.
    pub(crate) fn scale_to(&mut self, workers: u16) {
        let workers = workers.clamp(1, self.state.slots_max());
        let reason = format!("The request was superseded by one for {workers} workers.");
        let earlier = |awaits| matches!(awaits, Awaits::Scale { workers: asked } if asked != workers);
        self.control.fulfil(earlier, &Response::Failed { reason });
        self.events.push(Event::ScaleTo { workers });
    }

    /// Tells those who wait for it.
    pub(crate) fn tell_clients(&mut self, notice: Notice) {
        match notice {
            Notice::Restarted { purpose: Purpose::Restart, workers } => {
                self.control.fulfil(is(Awaits::Restart), &done(&format!("{workers} workers were replaced.")));
            }
            Notice::RestartFailed { purpose: Purpose::Restart, replaced, reason } => {
                let why = match reason {
                    RestartFailure::Stopping => "the instance stops.".to_owned(),
                    RestartFailure::Died { post } => {
                        format!("the new process of {post} died; its last message is in the log. The others serve on.")
                    }
                };
                let reason = format!("The restart was abandoned after {replaced} workers: {why}");
                self.control.fulfil(is(Awaits::Restart), &Response::Failed { reason });
            }
            Notice::Unchanged => {
                self.control.fulfil(
                    is(Awaits::Reload { begun: true }),
                    &done("The settings are the ones in force; nothing was done."),
                );
            }
            Notice::Reloaded { what, replaced, workers } => {
                let scaled = workers.map(|workers| format!(" The number of workers goes to {workers}."));
                let message = match what {
                    What::Settings => format!("The settings are in force; {replaced} workers were replaced."),
                    What::Program => format!("The new program is in force; {replaced} workers were replaced."),
                };
                self.control.fulfil(is(awaited(what, true)), &done(&(message + &scaled.unwrap_or_default())));
            }
            Notice::ReloadFailed { what, replaced, stragglers, reason } => {
                let why = match reason {
                    ReloadFailure::Stopping => "the instance stops.".to_owned(),
                    ReloadFailure::Refused => {
                        self.revisions.refusal.take().unwrap_or_else(|| "see the log.".to_owned())
                    }
                    ReloadFailure::Died { post } => {
                        format!("the new process of {post} died; its last message is in the log.")
                    }
                };
                let goes_on = match what {
                    What::Settings => "The settings before stay in force",
                    What::Program => "The program before goes on",
                };
                let back = if replaced > 0 { " with new workers" } else { "" };
                let but = match stragglers {
                    0 => String::new(),
                    some => format!(
                        " But {some} workers could not be taken back and work with what was refused: mend it and reload."
                    ),
                };
                let failed = Response::Failed { reason: format!("{goes_on}{back}: {why}{but}") };
                // A stop is the end of all waiting; anything else answers those for whom it was begun.
                let stops = reason == ReloadFailure::Stopping;
                self.control
                    .fulfil(|awaits| awaits == awaited(what, true) || stops && awaits == awaited(what, false), &failed);
            }
            Notice::Scaled { workers } => {
                let these = |awaits| awaits == Awaits::Scale { workers };
                self.control.fulfil(these, &done(&format!("There are {workers} workers.")));
            }
            Notice::ScaleFailed { asked, workers, reason } => {
                let why = match reason {
                    ScaleFailure::Stopping => "the instance stops".to_owned(),
                    ScaleFailure::NotOpened => {
                        "the sockets of a further one could not be opened; see the log".to_owned()
                    }
                    ScaleFailure::Broken { post } => {
                        format!(
                            "{post} cannot start and is tried again from time to time; its last message is in the log"
                        )
                    }
                };
                let reason = format!("There are {workers} worker slots, and {asked} workers were asked for: {why}.");
                self.control.fulfil(|awaits| awaits == Awaits::Scale { workers: asked }, &Response::Failed { reason });
            }
            Notice::Draining { .. } => {
                let reason = "The instance stops.".to_owned();
                let is_scale = |awaits| matches!(awaits, Awaits::Scale { .. });
                self.control.fulfil(is_scale, &Response::Failed { reason });
            }
            _ => {}
        }
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            pid: std::process::id(),
            build: self.build.clone(),
            uptime_ms: monotonic_ms().saturating_sub(self.own_seat.started_ms()),
            draining: self.state.drains(),
            restarting: self.state.restarts(),
            endpoints: self.listeners.endpoints(self.state.revision()),
            admin: self.listeners.admin_address(self.state.revision()),
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
                Post::Admin => self.listeners.admin_waiting(),
            },
            in_flight: seats().map(task_mcp_scoreboard::Seat::in_flight).sum(),
            open_streams: seats().map(task_mcp_scoreboard::Seat::open_streams).sum(),
            open_connections: seats().map(task_mcp_scoreboard::Seat::open_connections).sum(),
            last_exit: record.and_then(|record| record.last_exit.clone()),
        }
    }
}

fn is(what: Awaits) -> impl Fn(Awaits) -> bool {
    move |awaits| awaits == what
}

fn awaited(what: What, begun: bool) -> Awaits {
    match what {
        What::Settings => Awaits::Reload { begun },
        What::Program => Awaits::Upgrade { begun },
    }
}

fn done(message: &str) -> Response {
    Response::Done { message: message.to_owned() }
}

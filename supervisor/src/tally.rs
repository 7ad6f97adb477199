//! The supervisor's own metrics, in its own seat of the scoreboard. `slots.rs` has those of each slot.

mod slots;

use task_mcp_scoreboard::{Counter, Gauge, Kind, Scoreboard, Seat, Series};

use crate::step::{KillReason, Notice, Post, Purpose, Reason, ReloadFailure, RestartFailure, State, What};
use slots::Slots;

/// Processes started in the place of another, dead or replaced; label `process`.
const RESTARTS: &str = "task_mcp_worker_restarts_total";
/// Processes started; label `process`.
const STARTS: &str = "task_mcp_processes_started_total";
/// Rolling restarts that came to an end; label `result`.
const ROLLING_RESTARTS: &str = "task_mcp_rolling_restarts_total";
/// Reloads of the settings; label `result`.
const RELOADS: &str = "task_mcp_reloads_total";
/// Upgrades of the program; label `result`.
const UPGRADES: &str = "task_mcp_upgrades_total";
/// Workers replaced because they had reached a limit; label `reason`.
const RECYCLED: &str = "task_mcp_workers_recycled_total";
/// Requests that ended with the process that served them, streams among them.
const REQUESTS_LOST: &str = "task_mcp_requests_lost_total";
/// Processes killed; label `reason`.
const KILLED: &str = "task_mcp_processes_killed_total";
/// Workers that said ready and live.
const WORKERS_LIVE: &str = "task_mcp_workers_live";
/// Posts whose breaker is open.
const SLOTS_BROKEN: &str = "task_mcp_slots_broken";

const PROCESS: &str = "process";
const REASON: &str = "reason";
const RESULT: &str = "result";
/// Values of the label `result`: failed, done.
const RESULTS: [&str; 2] = ["failed", "ok"];

/// The supervisor's metric series, for the plan of the scoreboard; those of the slots are added when their number is known.
pub fn series() -> Vec<Series> {
    let one = |name: &str, help: &str, kind: Kind, labels: &[(&str, &str)]| Series {
        name: name.into(),
        help: help.into(),
        kind,
        labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        omit_zero: false,
        shown_with: None,
    };
    let mut all = Vec::new();
    for (name, help) in [
        (RESTARTS, "Processes started in the place of another, dead or replaced."),
        (STARTS, "Processes started; each has a generation of its own."),
    ] {
        all.extend(PROCESSES.map(|process| one(name, help, Kind::Counter, &[(PROCESS, process)])));
    }
    for (name, help) in [
        (
            ROLLING_RESTARTS,
            "Rolling restarts that were asked for and replaced all workers (ok) or were abandoned (failed).",
        ),
        (RELOADS, "Times the settings were read again and taken over (ok) or were refused or undone (failed)."),
        (UPGRADES, "Upgrades in place that were carried out (ok) or changed nothing (failed)."),
    ] {
        all.extend(RESULTS.map(|result| one(name, help, Kind::Counter, &[(RESULT, result)])));
    }
    for reason in RECYCLE_REASONS {
        let help = "Workers replaced because they had reached a limit of age, requests or memory.";
        all.push(one(RECYCLED, help, Kind::Counter, &[(REASON, recycle_label(reason))]));
    }
    let help = "Requests that ended with the process that served them, streams among them.";
    all.push(one(REQUESTS_LOST, help, Kind::Counter, &[]));
    for reason in REASONS {
        let help = "Processes killed by the supervisor.";
        all.push(one(KILLED, help, Kind::Counter, &[(REASON, label(reason))]));
    }
    all.push(one(WORKERS_LIVE, "Workers that are ready to serve.", Kind::Gauge, &[]));
    let help = "Slots whose processes died early too often and that are tried only now and then.";
    all.push(one(SLOTS_BROKEN, help, Kind::Gauge, &[]));
    all
}

/// Adds the series of so many slots to others.
pub(crate) fn with_slots(mut series: Vec<Series>, slots: u16) -> Vec<Series> {
    series.extend(slots::series(slots));
    series
}

/// Handles on the series above.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Of a worker, of the admin process.
    restarts: [Option<Counter>; 2],
    starts: [Option<Counter>; 2],
    /// Failed, done.
    rolling_restarts: [Option<Counter>; 2],
    reloads: [Option<Counter>; 2],
    upgrades: [Option<Counter>; 2],
    recycled: Vec<(Reason, Option<Counter>)>,
    by_slot: Slots,
    lost: Option<Counter>,
    killed: Vec<(KillReason, Option<Counter>)>,
    workers_live: Option<Gauge>,
    slots_broken: Option<Gauge>,
}

impl Tally {
    pub(crate) fn new(scoreboard: &Scoreboard, own: &Seat) -> Self {
        let counter =
            |name, labels: &[(&str, &str)]| scoreboard.find(name, labels).and_then(|index| own.counter(index));
        let gauge = |name| scoreboard.find(name, &[]).and_then(|index| own.gauge(index));
        Self {
            restarts: PROCESSES.map(|process| counter(RESTARTS, &[(PROCESS, process)])),
            starts: PROCESSES.map(|process| counter(STARTS, &[(PROCESS, process)])),
            rolling_restarts: RESULTS.map(|result| counter(ROLLING_RESTARTS, &[(RESULT, result)])),
            reloads: RESULTS.map(|result| counter(RELOADS, &[(RESULT, result)])),
            upgrades: RESULTS.map(|result| counter(UPGRADES, &[(RESULT, result)])),
            recycled: RECYCLE_REASONS
                .map(|reason| (reason, counter(RECYCLED, &[(REASON, recycle_label(reason))])))
                .into(),
            by_slot: Slots::new(scoreboard, own),
            lost: counter(REQUESTS_LOST, &[]),
            killed: REASONS.map(|reason| (reason, counter(KILLED, &[(REASON, label(reason))]))).into(),
            workers_live: gauge(WORKERS_LIVE),
            slots_broken: gauge(SLOTS_BROKEN),
        }
    }

    /// A process was started; as a `restart` in the place of another.
    pub(crate) fn started(&self, post: Post, restart: bool) {
        let [worker, admin] = &self.starts;
        let [worker_restart, admin_restart] = &self.restarts;
        let (start, again) = match post {
            Post::Worker(slot) => {
                self.by_slot.started(slot, restart);
                (worker, worker_restart)
            }
            Post::Admin => (admin, admin_restart),
        };
        count(start.as_ref(), 1);
        count(again.as_ref(), u64::from(restart));
    }

    /// Counts what is counted of decisions. What ends with the instance is neither done nor failed.
    pub(crate) fn told(&self, notice: Notice) {
        let of_what = |what| match what {
            What::Settings => &self.reloads,
            What::Program => &self.upgrades,
        };
        match notice {
            Notice::Restarted { purpose: Purpose::Restart, .. } => outcome(&self.rolling_restarts, true),
            Notice::RestartFailed { purpose: Purpose::Restart, reason: RestartFailure::Died { .. }, .. } => {
                outcome(&self.rolling_restarts, false);
            }
            Notice::Recycled { reason, .. } => {
                let counter = self.recycled.iter().find(|(one, _)| *one == reason);
                count(counter.and_then(|(_, counter)| counter.as_ref()), 1);
            }
            Notice::Unchanged => outcome(&self.reloads, true),
            Notice::Reloaded { what, .. } => outcome(of_what(what), true),
            Notice::ReloadFailed { reason: ReloadFailure::Stopping, .. } => {}
            Notice::ReloadFailed { what, .. } => outcome(of_what(what), false),
            _ => {}
        }
    }

    /// Takes over what the slots are doing now.
    pub(crate) fn look(&mut self, state: &State, now_ms: u64) {
        self.slots(state.live_workers(), state.broken_slots());
        self.by_slot.look(state, now_ms);
    }

    /// Whether what costs a system call is to be looked at; once a second.
    pub(crate) fn sample_due(&mut self, now_ms: u64) -> bool {
        self.by_slot.sample_due(now_ms)
    }

    /// What waits in the sockets of a slot.
    pub(crate) fn queue(&self, slot: u16, waiting: u32) {
        self.by_slot.queue(slot, waiting);
    }

    pub(crate) fn lost(&self, requests: u64) {
        count(self.lost.as_ref(), requests);
    }

    pub(crate) fn killed(&self, reason: KillReason) {
        let counter = self.killed.iter().find(|(one, _)| *one == reason);
        count(counter.and_then(|(_, counter)| counter.as_ref()), 1);
    }

    fn slots(&self, live_workers: u16, broken: u16) {
        for (gauge, value) in [(&self.workers_live, live_workers), (&self.slots_broken, broken)] {
            if let Some(gauge) = gauge {
                gauge.set(i64::from(value));
            }
        }
    }
}

/// Values of the label `process`.
const PROCESSES: [&str; 2] = ["worker", "admin"];

const REASONS: [KillReason; 5] = [
    KillReason::BootTimeout,
    KillReason::Lingering,
    KillReason::Hung,
    KillReason::DrainDeadline,
    KillReason::SecondSignal,
];

const RECYCLE_REASONS: [Reason; 3] = [Reason::Age, Reason::Requests, Reason::Memory];

fn recycle_label(reason: Reason) -> &'static str {
    match reason {
        Reason::Age => "age",
        Reason::Requests => "requests",
        Reason::Memory => "memory",
    }
}

fn label(reason: KillReason) -> &'static str {
    match reason {
        KillReason::BootTimeout => "boot_timeout",
        KillReason::Lingering => "lingering",
        KillReason::Hung => "hung",
        KillReason::DrainDeadline => "drain_deadline",
        KillReason::SecondSignal => "second_signal",
    }
}

fn outcome([failed, done]: &[Option<Counter>; 2], ok: bool) {
    count(if ok { done } else { failed }.as_ref(), 1);
}

fn count(counter: Option<&Counter>, by: u64) {
    if let Some(counter) = counter {
        counter.add(by);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use task_mcp_scoreboard::{Plan, Sample};

    use super::*;

    #[test]
    fn outcomes_are_counted_by_what_ended_and_how() {
        let scoreboard = Scoreboard::create(&Plan { seats: 1, series: series() }).unwrap();
        let tally = Tally::new(&scoreboard, &scoreboard.seat(0).unwrap());
        let post = Post::Worker(0);
        for (notice, name, expected) in [
            (Notice::Restarted { purpose: Purpose::Restart, workers: 2 }, ROLLING_RESTARTS, [0, 1]),
            (Notice::Restarted { purpose: Purpose::Reload, workers: 2 }, ROLLING_RESTARTS, [0, 1]),
            (
                Notice::RestartFailed { purpose: Purpose::Restart, replaced: 0, reason: RestartFailure::Died { post } },
                ROLLING_RESTARTS,
                [1, 1],
            ),
            (
                Notice::RestartFailed { purpose: Purpose::Restart, replaced: 0, reason: RestartFailure::Stopping },
                ROLLING_RESTARTS,
                [1, 1],
            ),
            (Notice::Reloaded { what: What::Settings, replaced: 0, workers: None }, RELOADS, [0, 1]),
            (Notice::Unchanged, RELOADS, [0, 2]),
            (
                Notice::ReloadFailed {
                    what: What::Settings,
                    replaced: 0,
                    stragglers: 0,
                    reason: ReloadFailure::Refused,
                },
                RELOADS,
                [1, 2],
            ),
            (
                Notice::ReloadFailed {
                    what: What::Settings,
                    replaced: 0,
                    stragglers: 0,
                    reason: ReloadFailure::Stopping,
                },
                RELOADS,
                [1, 2],
            ),
            (Notice::Reloaded { what: What::Program, replaced: 2, workers: None }, UPGRADES, [0, 1]),
            (
                Notice::ReloadFailed {
                    what: What::Program,
                    replaced: 1,
                    stragglers: 0,
                    reason: ReloadFailure::Died { post },
                },
                UPGRADES,
                [1, 1],
            ),
        ] {
            tally.told(notice);
            let total = |result| scoreboard.total(scoreboard.find(name, &[(RESULT, result)]).unwrap()).unwrap();
            assert_eq!(RESULTS.map(total), expected.map(Sample::Counter), "{notice:?}");
        }
    }
}

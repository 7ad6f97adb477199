//! The supervisor's own metrics, in its own seat of the scoreboard.

use task_mcp_scoreboard::{Counter, Gauge, Kind, Scoreboard, Seat, Series};

use crate::step::{KillReason, Post};

/// Processes started in the place of a dead one; label `process`.
const RESTARTS: &str = "task_mcp_worker_restarts_total";
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

/// The supervisor's metric series, for the plan of the scoreboard.
pub fn series() -> Vec<Series> {
    let one = |name: &str, help: &str, kind: Kind, labels: &[(&str, &str)]| Series {
        name: name.into(),
        help: help.into(),
        kind,
        labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        omit_zero: false,
    };
    let mut all = Vec::new();
    for process in ["worker", "admin"] {
        let help = "Processes started in the place of one that died.";
        all.push(one(RESTARTS, help, Kind::Counter, &[(PROCESS, process)]));
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

/// Handles on the series above.
#[derive(Debug)]
pub(crate) struct Tally {
    worker_restarts: Option<Counter>,
    admin_restarts: Option<Counter>,
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
            worker_restarts: counter(RESTARTS, &[(PROCESS, "worker")]),
            admin_restarts: counter(RESTARTS, &[(PROCESS, "admin")]),
            lost: counter(REQUESTS_LOST, &[]),
            killed: REASONS.map(|reason| (reason, counter(KILLED, &[(REASON, label(reason))]))).into(),
            workers_live: gauge(WORKERS_LIVE),
            slots_broken: gauge(SLOTS_BROKEN),
        }
    }

    pub(crate) fn restarted(&self, post: Post) {
        let counter = match post {
            Post::Worker(_) => &self.worker_restarts,
            Post::Admin => &self.admin_restarts,
        };
        count(counter.as_ref(), 1);
    }

    pub(crate) fn lost(&self, requests: u64) {
        count(self.lost.as_ref(), requests);
    }

    pub(crate) fn killed(&self, reason: KillReason) {
        let counter = self.killed.iter().find(|(one, _)| *one == reason);
        count(counter.and_then(|(_, counter)| counter.as_ref()), 1);
    }

    pub(crate) fn slots(&self, live_workers: u16, broken: u16) {
        for (gauge, value) in [(&self.workers_live, live_workers), (&self.slots_broken, broken)] {
            if let Some(gauge) = gauge {
                gauge.set(i64::from(value));
            }
        }
    }
}

const REASONS: [KillReason; 5] = [
    KillReason::BootTimeout,
    KillReason::Lingering,
    KillReason::Hung,
    KillReason::DrainDeadline,
    KillReason::SecondSignal,
];

fn label(reason: KillReason) -> &'static str {
    match reason {
        KillReason::BootTimeout => "boot_timeout",
        KillReason::Lingering => "lingering",
        KillReason::Hung => "hung",
        KillReason::DrainDeadline => "drain_deadline",
        KillReason::SecondSignal => "second_signal",
    }
}

fn count(counter: Option<&Counter>, by: u64) {
    if let Some(counter) = counter {
        counter.add(by);
    }
}

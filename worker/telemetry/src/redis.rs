//! What is counted of the Redis connections.

use std::time::Duration;

use task_mcp_scoreboard::{Counter, Gauge, Histogram, Kind, Series};

use crate::metrics::{Binder, UnplannedSeries, nanoseconds, series};
use crate::names;

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisFault {
    /// There is no connection, or it broke.
    Unavailable,
    /// The breaker is open: nothing was tried.
    Breaker,
    /// No answer within the time given.
    Timeout,
    /// The server answered with an error.
    Server,
    /// The answer is not one to this command.
    Nonsense,
}

impl RedisFault {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Unavailable, "unavailable"),
        (Self::Breaker, "breaker"),
        (Self::Timeout, "timeout"),
        (Self::Server, "server"),
        (Self::Nonsense, "nonsense"),
    ];
}

/// A process's handles on the series of one connection: that of the cache, or that of the state.
#[derive(Debug, Clone)]
pub struct RedisMetrics {
    commands: Histogram,
    faults: Vec<Counter>,
    /// Connections made.
    pub connects: Counter,
    /// 1 while the breaker is open.
    pub breaker_open: Gauge,
}

impl RedisMetrics {
    /// Observes a command that was answered.
    pub fn answered(&self, took: Duration) {
        self.commands.observe_ns(nanoseconds(took));
    }

    /// Counts one that failed.
    pub fn failed(&self, fault: RedisFault) {
        if let Some(counter) = self.faults.get(fault as usize) {
            counter.add(1);
        }
    }

    pub(crate) fn plan(user: &str) -> Vec<Series> {
        let bounds_ns = names::TOOL_BOUNDS_NS.to_vec();
        let mut all = vec![series(names::REDIS_COMMAND, Kind::Histogram { bounds_ns }, &[("for", user)], true)];
        all.extend(
            RedisFault::ALL.map(|(_, fault)| {
                series(names::REDIS_FAULTS, Kind::Counter, &[("for", user), ("reason", fault)], true)
            }),
        );
        all.push(series(names::REDIS_CONNECTS, Kind::Counter, &[("for", user)], true));
        all.push(series(names::REDIS_BREAKER_OPEN, Kind::Gauge, &[("for", user)], false));
        all
    }

    pub(crate) fn bind(binder: &mut Binder<'_>) -> Result<Self, UnplannedSeries> {
        Ok(Self {
            commands: binder.histogram()?,
            faults: binder.counters(RedisFault::ALL.len())?,
            connects: binder.counter()?,
            breaker_open: binder.gauge()?,
        })
    }
}

//! What is counted of the state and of the event bus.

use std::time::Duration;

use task_mcp_scoreboard::{Counter, Histogram, Kind, Series};

use crate::metrics::{Binder, UnplannedSeries, nanoseconds, series};
use crate::names;

/// What became of a call with an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdempotencyOutcome {
    /// It was the first with this key, and was run.
    First,
    /// It got the first answer again.
    Replayed,
    /// The first call with this key is still running.
    Running,
    /// It came with another body.
    Conflict,
    /// What became of the first call is not known.
    Unknown,
    /// The ledger could not be asked.
    Unavailable,
}

impl IdempotencyOutcome {
    const ALL: [(Self, &'static str); 6] = [
        (Self::First, "first"),
        (Self::Replayed, "replayed"),
        (Self::Running, "running"),
        (Self::Conflict, "conflict"),
        (Self::Unknown, "unknown"),
        (Self::Unavailable, "unavailable"),
    ];
}

/// A process's handles on the series of the state.
#[derive(Debug, Clone)]
pub struct StateMetrics {
    reads: Histogram,
    writes: Histogram,
    idempotency: Vec<Counter>,
    /// Operations that failed or took too long.
    pub faults: Counter,
    /// Events published by this process.
    pub published: Counter,
    /// Events handed to subscribers of this process.
    pub delivered: Counter,
    /// Events a subscriber's queue had no room for; the subscriber was told to look at everything anew.
    pub dropped: Counter,
}

impl StateMetrics {
    /// Observes a read of a record.
    pub fn read(&self, took: Duration) {
        self.reads.observe_ns(nanoseconds(took));
    }

    /// Observes a write of a record.
    pub fn wrote(&self, took: Duration) {
        self.writes.observe_ns(nanoseconds(took));
    }

    /// Counts a call with an idempotency key.
    pub fn idempotent(&self, outcome: IdempotencyOutcome) {
        if let Some(counter) = self.idempotency.get(outcome as usize) {
            counter.add(1);
        }
    }

    pub(crate) fn plan() -> Vec<Series> {
        let operation = |operation| {
            let bounds_ns = names::TOOL_BOUNDS_NS.to_vec();
            series(names::STATE_OPERATION, Kind::Histogram { bounds_ns }, &[("operation", operation)], true)
        };
        let mut all = vec![operation("read"), operation("write")];
        all.extend(
            IdempotencyOutcome::ALL
                .map(|(_, outcome)| series(names::IDEMPOTENT_CALLS, Kind::Counter, &[("outcome", outcome)], true)),
        );
        let counters = [names::STATE_FAULTS, names::BUS_PUBLISHED, names::BUS_DELIVERED, names::BUS_DROPPED];
        all.extend(counters.map(|name| series(name, Kind::Counter, &[], false)));
        all
    }

    pub(crate) fn bind(binder: &mut Binder<'_>) -> Result<Self, UnplannedSeries> {
        Ok(Self {
            reads: binder.histogram()?,
            writes: binder.histogram()?,
            idempotency: binder.counters(IdempotencyOutcome::ALL.len())?,
            faults: binder.counter()?,
            published: binder.counter()?,
            delivered: binder.counter()?,
            dropped: binder.counter()?,
        })
    }
}

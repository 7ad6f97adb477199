//! What is counted of the shared cache.

use std::time::Duration;

use task_mcp_scoreboard::{Counter, Gauge, Histogram, Kind, Series};

use crate::metrics::{Binder, UnplannedSeries, nanoseconds, series};
use crate::names;

/// Where the answer to a call of a cached tool came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOutcome {
    /// An entry.
    Hit,
    /// An entry past its time, which is computed anew meanwhile.
    Stale,
    /// It was computed for this call.
    Miss,
    /// It was computed for another call at the same time.
    Coalesced,
    /// It was computed because the shared tier could not be asked or trusted.
    Bypassed,
}

impl CacheOutcome {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Hit, "hit"),
        (Self::Stale, "stale"),
        (Self::Miss, "miss"),
        (Self::Coalesced, "coalesced"),
        (Self::Bypassed, "bypassed"),
    ];
}

/// What is asked of a shared tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOperation {
    /// Reading an entry.
    Get,
    /// Storing an entry.
    Put,
    /// Moving the epochs of tags on.
    Bump,
    /// Taking, renewing or giving back a lease.
    Lease,
}

impl CacheOperation {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Get, "get"), (Self::Put, "put"), (Self::Bump, "bump"), (Self::Lease, "lease")];
}

/// Why an operation of a shared tier did not do what it was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheFault {
    /// The tier cannot be reached.
    Unavailable,
    /// It took longer than its budget.
    Timeout,
    /// There is no room, in memory or on disk.
    Full,
    /// What was read is not what was written.
    Corrupt,
    /// What was read was written by another version.
    Foreign,
    /// The entry is over the limit.
    TooLarge,
    /// A tag moved on while the entry was computed.
    Late,
    /// The lease was another's by then.
    Fenced,
    /// Too many fills wait already.
    Queue,
}

impl CacheFault {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Unavailable, "unavailable"),
        (Self::Timeout, "timeout"),
        (Self::Full, "full"),
        (Self::Corrupt, "corrupt"),
        (Self::Foreign, "foreign"),
        (Self::TooLarge, "too_large"),
        (Self::Late, "late"),
        (Self::Fenced, "fenced"),
        (Self::Queue, "queue"),
    ];
}

/// A process's handles on the series of the cache. A tool is its place in the registry.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    outcomes: Vec<Counter>,
    hit_age: Histogram,
    operations: Vec<Histogram>,
    faults: Vec<Counter>,
    /// Entries a sweep removed because their time was over or room was needed.
    pub evicted: Counter,
    /// Entries of the embedded tier, as the last sweep found them.
    pub entries: Gauge,
    /// Bytes of the embedded tier, likewise.
    pub bytes: Gauge,
    /// 1 while this process does without the tier of the settings.
    pub degraded: Gauge,
    /// Bumps that wait to be sent.
    pub pending_bumps: Gauge,
}

impl CacheMetrics {
    /// Counts where the answer to a call came from.
    pub fn answered(&self, tool: usize, outcome: CacheOutcome) {
        if let Some(counter) = self.outcomes.get(tool * CacheOutcome::ALL.len() + outcome as usize) {
            counter.add(1);
        }
    }

    /// Observes the age of an entry that was answered.
    pub fn hit_aged(&self, age: Duration) {
        self.hit_age.observe_ns(nanoseconds(age));
    }

    /// Observes one operation of the shared tier.
    pub fn operated(&self, operation: CacheOperation, took: Duration) {
        if let Some(histogram) = self.operations.get(operation as usize) {
            histogram.observe_ns(nanoseconds(took));
        }
    }

    /// Counts what went wrong.
    pub fn failed(&self, fault: CacheFault) {
        if let Some(counter) = self.faults.get(fault as usize) {
            counter.add(1);
        }
    }

    pub(crate) fn plan(tools: &[&str]) -> Vec<Series> {
        let bounds = |bounds_ns: &[u64]| Kind::Histogram { bounds_ns: bounds_ns.to_vec() };
        let outcomes = tools.iter().flat_map(|tool| {
            CacheOutcome::ALL.map(|(_, outcome)| {
                series(names::CACHE_CALLS, Kind::Counter, &[("tool", tool), ("outcome", outcome)], true)
            })
        });
        let operations = CacheOperation::ALL.map(|(_, operation)| {
            series(names::CACHE_OPERATION, bounds(names::TOOL_BOUNDS_NS), &[("operation", operation)], true)
        });
        let faults =
            CacheFault::ALL.map(|(_, fault)| series(names::CACHE_FAULTS, Kind::Counter, &[("reason", fault)], true));
        outcomes
            .chain([series(names::CACHE_HIT_AGE, bounds(names::AGE_BOUNDS_NS), &[], false)])
            .chain(operations)
            .chain(faults)
            .chain([
                series(names::CACHE_EVICTED, Kind::Counter, &[], false),
                series(names::CACHE_ENTRIES, Kind::Gauge, &[], false),
                series(names::CACHE_BYTES, Kind::Gauge, &[], false),
                series(names::CACHE_DEGRADED, Kind::Gauge, &[], false),
                series(names::CACHE_PENDING_BUMPS, Kind::Gauge, &[], false),
            ])
            .collect()
    }

    pub(crate) fn bind(binder: &mut Binder<'_>, tools: usize) -> Result<Self, UnplannedSeries> {
        Ok(Self {
            outcomes: binder.counters(tools * CacheOutcome::ALL.len())?,
            hit_age: binder.histogram()?,
            operations: CacheOperation::ALL.iter().map(|_| binder.histogram()).collect::<Result<_, _>>()?,
            faults: binder.counters(CacheFault::ALL.len())?,
            evicted: binder.counter()?,
            entries: binder.gauge()?,
            bytes: binder.gauge()?,
            degraded: binder.gauge()?,
            pending_bumps: binder.gauge()?,
        })
    }
}

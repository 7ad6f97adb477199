//! Counts and latencies of a run.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;

use crate::{
    error::Error,
    outcome::{Freshness, Outcome},
};

/// Latencies above this are recorded as this: no time limit of a run is longer.
const LATENCY_MAX_US: u64 = 600_000_000;
/// Decimal digits a latency keeps.
const LATENCY_DIGITS: u8 = 3;

/// What became of the requests of a run.
#[derive(Debug, Clone)]
pub struct Report {
    counts: BTreeMap<(Outcome, Freshness), u64>,
    statuses: BTreeMap<u16, u64>,
    latencies_us: Histogram<u64>,
    pub(crate) announced_closes: u64,
    pub(crate) connections_opened: u64,
    pub(crate) elapsed: Duration,
}

impl Report {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            counts: BTreeMap::new(),
            statuses: BTreeMap::new(),
            latencies_us: Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS).map_err(Error::Histogram)?,
            announced_closes: 0,
            connections_opened: 0,
            elapsed: Duration::ZERO,
        })
    }

    /// Requests that ended in this class.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.count_on(outcome, Freshness::Fresh) + self.count_on(outcome, Freshness::Reused)
    }

    /// Requests that ended in this class on new or on reused connections.
    pub fn count_on(&self, outcome: Outcome, freshness: Freshness) -> u64 {
        self.counts.get(&(outcome, freshness)).copied().unwrap_or(0)
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Requests that did not end well.
    pub fn failed(&self) -> u64 {
        self.total() - self.count(Outcome::Ok)
    }

    /// Complete answers with this status.
    pub fn with_status(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// Complete answers that carried `Connection: close`.
    pub fn announced_closes(&self) -> u64 {
        self.announced_closes
    }

    /// Connections that were opened.
    pub fn connections_opened(&self) -> u64 {
        self.connections_opened
    }

    /// Latency in microseconds below which this share (0 to 1) of the complete answers lies; 0 without any.
    pub fn latency_us(&self, quantile: f64) -> u64 {
        if self.latencies_us.is_empty() { 0 } else { self.latencies_us.value_at_quantile(quantile) }
    }

    /// From the start to the last outcome.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Requests of any outcome in a second.
    pub fn requests_per_s(&self) -> f64 {
        let elapsed_s = self.elapsed.as_secs_f64();
        if elapsed_s > 0.0 { self.total() as f64 / elapsed_s } else { 0.0 }
    }

    pub(crate) fn record(&mut self, outcome: Outcome, freshness: Freshness, latency: Duration) {
        *self.counts.entry((outcome, freshness)).or_default() += 1;
        if outcome.is_answered() {
            self.latencies_us.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US).max(1));
        }
    }

    pub(crate) fn record_status(&mut self, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (class, count) in &other.counts {
            *self.counts.entry(*class).or_default() += count;
        }
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        // Both have the same bounds, so that nothing can fall outside.
        let _ = self.latencies_us.add(&other.latencies_us);
        self.announced_closes += other.announced_closes;
        self.connections_opened += other.connections_opened;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        writeln!(f, "{total} requests in {:.2?}, {:.0}/s", self.elapsed, self.requests_per_s())?;
        for outcome in Outcome::ALL.into_iter().filter(|outcome| self.count(*outcome) > 0) {
            let fresh = self.count_on(outcome, Freshness::Fresh);
            let reused = self.count_on(outcome, Freshness::Reused);
            writeln!(f, "  {:<10} {fresh} fresh, {reused} reused", outcome.name())?;
        }
        writeln!(f, "  {} connections, {} closes announced", self.connections_opened, self.announced_closes)?;
        write!(f, "  latency in us:")?;
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            write!(f, " {name} {}", self.latency_us(quantile))?;
        }
        Ok(())
    }
}

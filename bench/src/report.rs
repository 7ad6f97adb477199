//! Counts and latencies of a run.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;

use crate::{
    error::Error,
    outcome::{Freshness, Mishap, Outcome},
};

/// Latencies above this are recorded as this: no time limit of a run is longer.
const LATENCY_MAX_US: u64 = 600_000_000;
/// Decimal digits a latency keeps.
const LATENCY_DIGITS: u8 = 3;
/// Mishaps that are remembered one by one; all are counted.
const MISHAPS_MAX: usize = 100_000;

/// What became of the requests of a run.
#[derive(Debug, Clone)]
pub struct Report {
    counts: BTreeMap<(Outcome, Freshness), u64>,
    statuses: BTreeMap<u16, u64>,
    latencies_us: Histogram<u64>,
    failure_latencies_us: Histogram<u64>,
    lags_us: Histogram<u64>,
    mishaps: Vec<Mishap>,
    pub(crate) unsent: u64,
    pub(crate) announced_closes: u64,
    pub(crate) connections_opened: u64,
    pub(crate) elapsed: Duration,
}

impl Report {
    pub(crate) fn new() -> Result<Self, Error> {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS).map_err(Error::Histogram);
        Ok(Self {
            counts: BTreeMap::new(),
            statuses: BTreeMap::new(),
            latencies_us: histogram()?,
            failure_latencies_us: histogram()?,
            lags_us: histogram()?,
            mishaps: Vec::new(),
            unsent: 0,
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
        value_at(&self.latencies_us, quantile)
    }

    /// The same of the requests that got no complete answer: how long their callers waited in vain.
    pub fn failure_latency_us(&self, quantile: f64) -> u64 {
        value_at(&self.failure_latencies_us, quantile)
    }

    /// How late, in microseconds, this share of the requests left at most, counted from when they were due. Much more than
    /// the timer's grain says that connections were too few or the generator had no processor.
    pub fn lag_us(&self, quantile: f64) -> u64 {
        value_at(&self.lags_us, quantile)
    }

    /// Requests of an open loop that were due and never left because no connection was free before the run ended. The last
    /// few of a run that is stopped may be among them for the timer's grain alone.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// The requests that did not end well, in the order in which that was known; the first 100,000 of them.
    pub fn mishaps(&self) -> &[Mishap] {
        &self.mishaps
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
        let latencies = if outcome.is_answered() { &mut self.latencies_us } else { &mut self.failure_latencies_us };
        latencies.saturating_record(micros(latency));
    }

    pub(crate) fn record_lag(&mut self, lag: Duration) {
        self.lags_us.saturating_record(micros(lag));
    }

    pub(crate) fn record_mishap(&mut self, mishap: Mishap) {
        if self.mishaps.len() < MISHAPS_MAX {
            self.mishaps.push(mishap);
        }
    }

    pub(crate) fn record_status(&mut self, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
    }
}

fn value_at(histogram: &Histogram<u64>, quantile: f64) -> u64 {
    if histogram.is_empty() { 0 } else { histogram.value_at_quantile(quantile) }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(LATENCY_MAX_US).max(1)
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
        write!(
            f,
            "\n  left late by, in us: p50 {} max {}; {} never left",
            self.lag_us(0.5),
            self.lag_us(1.0),
            self.unsent
        )
    }
}

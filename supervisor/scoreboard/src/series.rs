//! Handles on one metric of one seat: found once, then used without lookup, lock or allocation.

use std::sync::Arc;

use crate::board::Inner;

/// A number that only grows.
#[derive(Debug, Clone)]
pub struct Counter {
    pub(crate) inner: Arc<Inner>,
    pub(crate) cell: usize,
}

impl Counter {
    /// Counts `by` events, or so many nanoseconds.
    pub fn add(&self, by: u64) {
        self.inner.region.add(self.cell, by);
    }

    /// What this seat has counted.
    pub fn get(&self) -> u64 {
        self.inner.region.get(self.cell)
    }
}

/// A present quantity, which may be negative.
#[derive(Debug, Clone)]
pub struct Gauge {
    pub(crate) inner: Arc<Inner>,
    pub(crate) cell: usize,
}

impl Gauge {
    /// Raises or lowers the quantity.
    pub fn add(&self, by: i64) {
        self.inner.region.add(self.cell, by as u64);
    }

    /// Replaces this seat's share of the quantity.
    pub fn set(&self, value: i64) {
        self.inner.region.set(self.cell, value as u64);
    }

    /// This seat's share of the quantity.
    pub fn get(&self) -> i64 {
        self.inner.region.get(self.cell) as i64
    }
}

/// Durations by bucket.
#[derive(Debug, Clone)]
pub struct Histogram {
    pub(crate) inner: Arc<Inner>,
    pub(crate) cell: usize,
    pub(crate) bounds_ns: Arc<[u64]>,
}

impl Histogram {
    /// Counts one duration in nanoseconds. A bound belongs to the bucket below it, as Prometheus' `le` has it.
    pub fn observe_ns(&self, duration_ns: u64) {
        let bucket = self.bounds_ns.partition_point(|bound| *bound < duration_ns);
        self.inner.region.add(self.cell + bucket, 1);
        self.inner.region.add(self.cell + self.bounds_ns.len() + 1, duration_ns);
    }
}

/// The sum of one series over all seats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sample {
    /// Of a counter, or of a time in nanoseconds.
    Counter(u64),
    /// Of a gauge.
    Gauge(i64),
    /// Of a histogram.
    Histogram {
        /// Observations in each bucket (not cumulative), the last one above all bounds. Their sum is the count.
        counts: Vec<u64>,
        /// Sum of all observations, in nanoseconds.
        sum_ns: u64,
    },
}

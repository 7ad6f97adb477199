//! What is counted of tool calls.

use std::time::Duration;

use task_mcp_scoreboard::{Counter, Gauge, Histogram, Kind, Series};

use crate::metrics::{Binder, UnplannedSeries, nanoseconds, series};
use crate::names;

/// A call that runs.
#[derive(Debug)]
pub struct Running(Option<Gauge>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.iter().for_each(|gauge| gauge.add(-1));
    }
}

/// A process's handles on the series of tools. A tool is its place in the registry, an error code its place in the registry's
/// list of codes.
#[derive(Debug, Clone)]
pub struct ToolMetrics {
    durations: Vec<Histogram>,
    errors: Vec<Counter>,
    codes: usize,
    panics: Counter,
    running: Vec<Gauge>,
    /// Jobs that wait for a thread of the pool.
    pub pool_queue: Gauge,
    pool_wait: Histogram,
}

impl ToolMetrics {
    /// Counts one call, whatever its outcome.
    pub fn executed(&self, tool: usize, duration: Duration) {
        if let Some(histogram) = self.durations.get(tool) {
            histogram.observe_ns(nanoseconds(duration));
        }
    }

    /// Counts a failed call; `None` is a code nobody declared.
    pub fn failed(&self, tool: usize, code: Option<usize>) {
        if let Some(counter) = self.errors.get(tool * (self.codes + 1) + code.unwrap_or(self.codes)) {
            counter.add(1);
        }
    }

    /// Counts a call as running for as long as the value lives, whether its caller waits or has left.
    pub fn running(&self, tool: usize) -> Running {
        let gauge = self.running.get(tool).cloned();
        gauge.iter().for_each(|gauge| gauge.add(1));
        Running(gauge)
    }

    /// Counts a panic.
    pub fn panicked(&self) {
        self.panics.add(1);
    }

    /// Observes how long a job waited for a thread of the pool.
    pub fn pool_waited(&self, waited: Duration) {
        self.pool_wait.observe_ns(nanoseconds(waited));
    }

    pub(crate) fn plan(tools: &[&str], codes: &[&str]) -> Vec<Series> {
        let bounds_ns = names::TOOL_BOUNDS_NS.to_vec();
        let durations = tools.iter().map(|tool| {
            let kind = Kind::Histogram { bounds_ns: bounds_ns.clone() };
            series(names::TOOL_DURATION, kind, &[("tool", tool)], false)
        });
        let errors = tools.iter().flat_map(|tool| {
            let codes = codes.iter().copied().chain(["other"]);
            codes.map(|code| series(names::TOOL_ERRORS, Kind::Counter, &[("tool", tool), ("code", code)], true))
        });
        let wait = Kind::Histogram { bounds_ns: names::TOOL_BOUNDS_NS.to_vec() };
        let rest = [
            series(names::TOOL_PANICS, Kind::Counter, &[], false),
            series(names::POOL_QUEUE, Kind::Gauge, &[], false),
            series(names::POOL_WAIT, wait, &[], false),
        ];
        let running = tools.iter().map(|tool| series(names::TOOL_RUNNING, Kind::Gauge, &[("tool", tool)], true));
        durations.chain(errors).chain(rest).chain(running).collect()
    }

    pub(crate) fn bind(binder: &mut Binder<'_>, tools: usize, codes: usize) -> Result<Self, UnplannedSeries> {
        Ok(Self {
            durations: (0..tools).map(|_| binder.histogram()).collect::<Result<_, _>>()?,
            errors: binder.counters(tools * (codes + 1))?,
            codes,
            panics: binder.counter()?,
            pool_queue: binder.gauge()?,
            pool_wait: binder.histogram()?,
            running: (0..tools).map(|_| binder.gauge()).collect::<Result<_, _>>()?,
        })
    }
}

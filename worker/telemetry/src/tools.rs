//! What is counted of tool calls.

use std::time::Duration;

use task_mcp_scoreboard::{Counter, Histogram, Kind, Series};

use crate::metrics::{Binder, UnplannedSeries, series};
use crate::names;

/// A process's handles on the series of tools. A tool is its place in the registry, an error code its place in the registry's
/// list of codes.
#[derive(Debug, Clone)]
pub struct ToolMetrics {
    durations: Vec<Histogram>,
    errors: Vec<Counter>,
    codes: usize,
    panics: Counter,
}

impl ToolMetrics {
    /// Counts one call, whatever its outcome.
    pub fn executed(&self, tool: usize, duration: Duration) {
        if let Some(histogram) = self.durations.get(tool) {
            histogram.observe_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Counts a failed call; `None` is a code nobody declared.
    pub fn failed(&self, tool: usize, code: Option<usize>) {
        if let Some(counter) = self.errors.get(tool * (self.codes + 1) + code.unwrap_or(self.codes)) {
            counter.add(1);
        }
    }

    /// Counts a panic.
    pub fn panicked(&self) {
        self.panics.add(1);
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
        durations.chain(errors).chain([series(names::TOOL_PANICS, Kind::Counter, &[], false)]).collect()
    }

    pub(crate) fn bind(binder: &mut Binder<'_>, tools: usize, codes: usize) -> Result<Self, UnplannedSeries> {
        Ok(Self {
            durations: (0..tools).map(|_| binder.histogram()).collect::<Result<_, _>>()?,
            errors: (0..tools * (codes + 1)).map(|_| binder.counter()).collect::<Result<_, _>>()?,
            codes,
            panics: binder.counter()?,
        })
    }
}

//! The series of an instance as a plan for the scoreboard, and a process's handles on them.

use std::time::Duration;

use task_mcp_scoreboard::{Counter, Gauge, Histogram, Kind, Scoreboard, Seat, Series};

use crate::cache::CacheMetrics;
use crate::http::HttpMetrics;
use crate::limits::LimitMetrics;
use crate::mcp::McpMetrics;
use crate::names;
use crate::redis::RedisMetrics;
use crate::state::StateMetrics;
use crate::tools::ToolMetrics;

/// The scoreboard's directory is not the plan of this build: another version made it.
#[derive(Debug, thiserror::Error)]
#[error("the scoreboard's series {index} is not the one this build planned; was it made by another version?")]
pub struct UnplannedSeries {
    /// Position in the directory.
    pub index: usize,
}

/// The series of this crate for the given tools and error codes. They stand at the front of the scoreboard's directory, in
/// this order; series of others follow.
pub fn plan(tools: &[&str], codes: &[&str]) -> Vec<Series> {
    let mut all = HttpMetrics::plan();
    all.extend(ToolMetrics::plan(tools, codes));
    all.extend(CacheMetrics::plan(tools));
    all.extend(RedisMetrics::plan("cache"));
    all.extend(RedisMetrics::plan("state"));
    all.extend(StateMetrics::plan());
    all.extend(LimitMetrics::plan());
    all.extend(McpMetrics::plan());
    all.push(series(names::SSE_ACTIVE, Kind::Gauge, &[], false));
    all.push(series(names::TREE_CHANGES_SEEN, Kind::Counter, &[], false));
    all
}

/// A process's handles on all series of [`plan`].
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Requests.
    pub http: HttpMetrics,
    /// Tool calls.
    pub tools: ToolMetrics,
    /// The shared cache.
    pub cache: CacheMetrics,
    /// The cache's connection to Redis.
    pub cache_redis: RedisMetrics,
    /// The state's connection to Redis.
    pub state_redis: RedisMetrics,
    /// State and event bus.
    pub state: StateMetrics,
    /// Limits.
    pub limits: LimitMetrics,
    /// Sessions, streams, questions, tasks.
    pub mcp: McpMetrics,
    /// Open event streams.
    pub sse_active: Gauge,
    /// Edits seen by the watcher.
    pub tree_changes_seen: Counter,
}

impl Metrics {
    /// Binds the cells of `seat`. `tools` and `codes` are those the plan was made with.
    ///
    /// # Errors
    /// The directory is not what [`plan`] makes of them.
    pub fn bind(scoreboard: &Scoreboard, seat: &Seat, tools: &[&str], codes: &[&str]) -> Result<Self, UnplannedSeries> {
        for (index, planned) in plan(tools, codes).iter().enumerate() {
            if scoreboard.series().get(index) != Some(planned) {
                return Err(UnplannedSeries { index });
            }
        }
        let binder = &mut Binder { seat, next: 0 };
        Ok(Self {
            http: HttpMetrics::bind(binder)?,
            tools: ToolMetrics::bind(binder, tools.len(), codes.len())?,
            cache: CacheMetrics::bind(binder, tools.len())?,
            cache_redis: RedisMetrics::bind(binder)?,
            state_redis: RedisMetrics::bind(binder)?,
            state: StateMetrics::bind(binder)?,
            limits: LimitMetrics::bind(binder)?,
            mcp: McpMetrics::bind(binder)?,
            sse_active: binder.gauge()?,
            tree_changes_seen: binder.counter()?,
        })
    }
}

/// Hands out the cells of a seat in the order of the plan.
pub(crate) struct Binder<'a> {
    seat: &'a Seat,
    next: usize,
}

impl Binder<'_> {
    pub(crate) fn counter(&mut self) -> Result<Counter, UnplannedSeries> {
        let index = self.advance();
        self.seat.counter(index).ok_or(UnplannedSeries { index })
    }

    pub(crate) fn counters(&mut self, count: usize) -> Result<Vec<Counter>, UnplannedSeries> {
        (0..count).map(|_| self.counter()).collect()
    }

    pub(crate) fn gauge(&mut self) -> Result<Gauge, UnplannedSeries> {
        let index = self.advance();
        self.seat.gauge(index).ok_or(UnplannedSeries { index })
    }

    pub(crate) fn histogram(&mut self) -> Result<Histogram, UnplannedSeries> {
        let index = self.advance();
        self.seat.histogram(index).ok_or(UnplannedSeries { index })
    }

    fn advance(&mut self) -> usize {
        let index = self.next;
        self.next += 1;
        index
    }
}

/// As many as a cell holds.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn series(name: &str, kind: Kind, labels: &[(&str, &str)], omit_zero: bool) -> Series {
    Series {
        name: name.to_owned(),
        help: names::help(name).to_owned(),
        kind,
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        omit_zero,
        shown_with: None,
    }
}

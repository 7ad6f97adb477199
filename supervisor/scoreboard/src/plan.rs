//! What a scoreboard is asked to hold. Everything is known before the first process starts: the number of processes from
//! the settings, the series from the registry of tools and the crates' own lists.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::ScoreboardError;

/// Most seats one scoreboard may have.
pub const MAX_SEATS: u64 = 1024;
/// Most metric series one scoreboard may have: some 70 for each tool or method, most of them for errors, so room for a hundred tools.
/// One costs a seat 8 bytes.
pub const MAX_SERIES: u64 = 8192;
/// Most bounds one histogram may have.
pub const MAX_BOUNDS: u64 = 64;
/// Most labels one series may have.
pub const MAX_LABELS: u64 = 16;
/// Largest directory of series, as JSON, in bytes.
pub const MAX_DIRECTORY_BYTES: u64 = 4 << 20;
/// Largest scoreboard, in bytes.
pub const MAX_MEMORY_BYTES: u64 = 256 << 20;

/// The shape of a scoreboard.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Number of seats: processes that may be alive at the same time.
    pub seats: u16,
    /// The metric series each seat has cells for; their position here is their index everywhere else.
    pub series: Vec<Series>,
}

/// One metric with one set of labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Name as exposed.
    pub name: String,
    /// Help text as exposed.
    pub help: String,
    /// What kind of number it is.
    pub kind: Kind,
    /// Label names and values.
    pub labels: Vec<(String, String)>,
    /// Whether an exposition may leave the series out as long as it is zero; for large families of labels.
    pub omit_zero: bool,
    /// Name of the series with the same labels that tells whether this one means anything: as long as that one is zero, an
    /// exposition leaves this one out. For what is planned for more than there may ever be, as slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_with: Option<String>,
}

/// What kind of number a series is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Only grows; survives the process that counted.
    Counter,
    /// A time in nanoseconds that only grows, exposed in seconds; else as a counter.
    Time,
    /// A present quantity; what a dead process held is taken out.
    Gauge,
    /// Durations in nanoseconds by bucket.
    Histogram {
        /// Inclusive upper bounds in nanoseconds, strictly ascending; one more bucket takes what is above the last.
        bounds_ns: Vec<u64>,
    },
}

impl Kind {
    /// Words one seat needs for a series of this kind. Histogram: a cell for each bound, one for what is above, the sum.
    pub(crate) fn cells(&self) -> u64 {
        match self {
            Self::Counter | Self::Time | Self::Gauge => 1,
            Self::Histogram { bounds_ns } => bounds_ns.len() as u64 + 2,
        }
    }

    /// Whether its cells are never lowered.
    pub(crate) fn only_grows(&self) -> bool {
        !matches!(self, Self::Gauge)
    }
}

/// Checks series against the limits of this file; a plan and a directory found in memory take the same way.
pub(crate) fn validate(seats: u64, series: &[Series]) -> Result<(), ScoreboardError> {
    limit("seats", seats, MAX_SEATS)?;
    limit("metric series", series.len() as u64, MAX_SERIES)?;
    let mut seen = HashSet::new();
    for one in series {
        let invalid = |reason| Err(ScoreboardError::Series { name: one.name.clone(), reason });
        limit("labels of a metric series", one.labels.len() as u64, MAX_LABELS)?;
        if one.name.is_empty() {
            return invalid("it has no name");
        }
        if !seen.insert((&one.name, &one.labels)) {
            return invalid("another series has the same name and labels");
        }
        if let Kind::Histogram { bounds_ns } = &one.kind {
            limit("bounds of a histogram", bounds_ns.len() as u64, MAX_BOUNDS)?;
            if !bounds_ns.is_sorted_by(|a, b| a < b) {
                return invalid("the bounds of its buckets do not ascend");
            }
        }
    }
    Ok(())
}

/// Refuses a quantity over its limit.
pub(crate) fn limit(what: &'static str, found: u64, limit: u64) -> Result<(), ScoreboardError> {
    if found > limit { Err(ScoreboardError::Limit { what, found, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn series(name: &str, kind: Kind) -> Series {
        Series { name: name.into(), help: String::new(), kind, labels: vec![], omit_zero: false, shown_with: None }
    }

    #[test]
    fn doubles_nameless_series_and_unsorted_bounds_are_refused() {
        let twice = [series("a", Kind::Counter), series("a", Kind::Gauge)];
        assert!(matches!(validate(1, &twice), Err(ScoreboardError::Series { .. })));
        assert!(matches!(validate(1, &[series("", Kind::Counter)]), Err(ScoreboardError::Series { .. })));
        for bounds_ns in [vec![2, 1], vec![1, 1]] {
            let bad = [series("h", Kind::Histogram { bounds_ns })];
            assert!(matches!(validate(1, &bad), Err(ScoreboardError::Series { .. })));
        }
    }

    #[test]
    fn limits_hold_on_both_sides() {
        assert!(validate(MAX_SEATS, &[]).is_ok());
        assert!(matches!(validate(MAX_SEATS + 1, &[]), Err(ScoreboardError::Limit { limit: MAX_SEATS, .. })));
        let wide = |n: u64| [series("h", Kind::Histogram { bounds_ns: (0..n).collect() })];
        assert!(validate(1, &wide(MAX_BOUNDS)).is_ok());
        assert!(validate(1, &wide(MAX_BOUNDS + 1)).is_err());
    }
}

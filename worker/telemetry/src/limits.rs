//! What is counted of limits.

use task_mcp_scoreboard::{Counter, Kind, Series};

use crate::metrics::{Binder, UnplannedSeries, series};
use crate::names;

/// A process's handles on the series of limits.
#[derive(Debug, Clone)]
pub struct LimitMetrics {
    /// Requests refused because their principal sent too many.
    pub rate_limited: Counter,
    /// Requests judged by the local share because the shared limit could not be asked.
    pub rate_local: Counter,
    /// Connections refused because their address has too many.
    pub refused_address: Counter,
    /// Connections refused because all are busy.
    pub refused_full: Counter,
    /// Idle connections closed to make room.
    pub closed_for_room: Counter,
    /// Connections closed because nothing happened on them.
    pub closed_idle: Counter,
}

impl LimitMetrics {
    pub(crate) fn plan() -> Vec<Series> {
        let counter = |name, reason| series(name, Kind::Counter, &[("reason", reason)], false);
        vec![
            series(names::RATE_LIMITED, Kind::Counter, &[], false),
            series(names::RATE_LOCAL, Kind::Counter, &[], false),
            counter(names::CONNECTIONS_REFUSED, "address"),
            counter(names::CONNECTIONS_REFUSED, "full"),
            counter(names::CONNECTIONS_CLOSED, "room"),
            counter(names::CONNECTIONS_CLOSED, "idle"),
        ]
    }

    pub(crate) fn bind(binder: &mut Binder<'_>) -> Result<Self, UnplannedSeries> {
        Ok(Self {
            rate_limited: binder.counter()?,
            rate_local: binder.counter()?,
            refused_address: binder.counter()?,
            refused_full: binder.counter()?,
            closed_for_room: binder.counter()?,
            closed_idle: binder.counter()?,
        })
    }
}

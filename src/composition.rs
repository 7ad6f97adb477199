//! Which tools an instance has, and what must be known of them before the first process starts.

use task_mcp_scoreboard::{Commons, Plan, Scoreboard, Series};
use task_mcp_tools::Inventory;
use task_mcp_worker::{Build, Memory, WorkerError};

use crate::Extensions;

/// The names and error codes of all tools, in the order in which every process registers them.
pub(crate) fn inventory(extensions: &Extensions) -> Inventory {
    Inventory::with(&extensions.additions())
}

/// The metric series of an instance: what the server counts, then what the supervisor counts.
pub(crate) fn series(inventory: &Inventory) -> Vec<Series> {
    let mut series = task_mcp_telemetry::plan(&inventory.names(), inventory.codes());
    series.extend(task_mcp_supervisor::series());
    series
}

/// The memory of a process that runs alone, without a supervisor.
///
/// # Errors
/// The system gives none.
pub(crate) fn memory_of_its_own(extensions: &Extensions) -> Result<Memory, WorkerError> {
    let scoreboard = Scoreboard::create(&Plan { seats: 1, series: series(&inventory(extensions)) })?;
    let seat = scoreboard.seat(0).ok_or(WorkerError::Seat(0))?;
    Ok(Memory { scoreboard, commons: Commons::create()?, seat })
}

/// The software this program is.
pub(crate) fn build() -> Build {
    let version = env!("CARGO_PKG_VERSION");
    Build { version: version.to_owned(), build: version.to_owned() }
}

//! Which tools an instance has, and what must be known of them before the first process starts.

use task_mcp_scoreboard::Series;
use task_mcp_tools::Inventory;
use task_mcp_worker::Build;

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

/// The software this program is.
pub(crate) fn build() -> Build {
    let version = env!("CARGO_PKG_VERSION");
    Build { version: version.to_owned(), build: version.to_owned() }
}

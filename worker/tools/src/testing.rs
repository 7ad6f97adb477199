//! What the tests of this crate share.

use task_mcp_cache::Cache;
use task_mcp_scoreboard::{Commons, Plan, Sample, Scoreboard};
use task_mcp_state::State;
use task_mcp_telemetry::{Metrics, ToolMetrics, names, plan};

use crate::error::code;
use crate::executor::Backing;

/// Metrics for tools of the given names, and the scoreboard they are on.
pub(crate) fn metrics(tools: &[&str]) -> (ToolMetrics, Scoreboard) {
    metrics_with(tools, &code::ALL)
}

/// The same for given error codes.
pub(crate) fn metrics_with(tools: &[&str], codes: &[&str]) -> (ToolMetrics, Scoreboard) {
    let scoreboard = Scoreboard::create(&Plan { seats: 1, series: plan(tools, codes) }).unwrap();
    let seat = scoreboard.seat(0).unwrap();
    (Metrics::bind(&scoreboard, &seat, tools, codes).unwrap().tools, scoreboard)
}

/// Cache and ledger of a process that runs alone, with epochs in `commons`.
pub(crate) fn backing(scoreboard: &Scoreboard, commons: &Commons, tools: &[&str], codes: &[&str]) -> Backing {
    let metrics = Metrics::bind(scoreboard, &scoreboard.seat(0).unwrap(), tools, codes).unwrap();
    let state = State::alone(metrics.state);
    let (ledger, bus) = (state.ledger().clone(), state.bus().clone());
    Backing { store_id: "test".to_owned(), cache: Cache::none(commons, metrics.cache), ledger, bus }
}

/// How many panics were counted.
pub(crate) fn panics(scoreboard: &Scoreboard) -> u64 {
    counted(scoreboard, names::TOOL_PANICS, &[])
}

/// What a counter says.
pub(crate) fn counted(scoreboard: &Scoreboard, name: &str, labels: &[(&str, &str)]) -> u64 {
    match scoreboard.total(scoreboard.find(name, labels).unwrap()) {
        Some(Sample::Counter(count)) => count,
        other => panic!("{name} is no counter: {other:?}"),
    }
}

//! What the tests of this crate share.

use std::time::{Duration, Instant};

use task_mcp_scoreboard::{Plan, Role, Scoreboard};
use task_mcp_telemetry::{Metrics, StateMetrics, plan};

/// Series of their own, which nobody reads.
pub(crate) fn metrics() -> StateMetrics {
    let board = Scoreboard::create(&Plan { seats: 1, series: plan(&[], &[]) }).expect("a scoreboard");
    let seat = board.seat(0).expect("one seat");
    seat.begin(1, 0, 1, Role::Worker, 0);
    Metrics::bind(&board, &seat, &[], &[]).expect("the plan of this build").state
}

/// Looks until it is so; gives up after ten seconds.
pub(crate) async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! The heartbeat of the thread that serves.

use std::time::Duration;

use rustix::thread::gettid;
use task_mcp_scoreboard::{Seat, monotonic_ms};
use tokio::time::sleep;

/// How often the thread says that it runs.
const HEARTBEAT: Duration = Duration::from_millis(50);

/// Names the thread and beats for ever. It must run on the thread that serves, so that it stops when that thread is stuck.
pub(crate) async fn beat(seat: Seat) {
    seat.served_by(gettid().as_raw_nonzero().get().unsigned_abs());
    loop {
        seat.heartbeat(monotonic_ms());
        sleep(HEARTBEAT).await;
    }
}

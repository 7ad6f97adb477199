//! Connections on which nothing happens.

use std::sync::Arc;
use std::time::Duration;

use task_mcp_scoreboard::monotonic_us;
use tokio::time::sleep;

use super::entry::Entry;
use super::gate::Gate;

/// How often connections are looked at, unless the limit is short.
const EVERY: Duration = Duration::from_secs(60);

/// Ends connections on which nothing happened for `limits.idle_timeout_s`, for ever.
pub(crate) async fn sweep(gate: Arc<Gate>) {
    let limit = gate.limits().idle_timeout;
    let limit_us = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    loop {
        sleep(EVERY.min(limit / 5)).await;
        let now_us = monotonic_us();
        let swept = gate.entries().iter().filter(|entry| end_if_idle(entry, now_us, limit_us)).count();
        gate.metrics().closed_idle.add(u64::try_from(swept).unwrap_or(u64::MAX));
    }
}

/// A stream on which nothing is written is cut, because whoever should read it does not, or has nothing to expect from it. A
/// connection that serves nothing is closed; cut, if that was asked of it before. A call that waits for its answer has a deadline
/// of its own.
fn end_if_idle(entry: &Entry, now_us: u64, limit_us: u64) -> bool {
    if entry.is_waited_for() || now_us.saturating_sub(entry.progress_us()) < limit_us {
        return false;
    }
    let first_time = !entry.is_closing();
    if entry.is_answering() || !first_time {
        entry.end();
    } else {
        entry.close();
    }
    first_time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_streams_and_connections_end_and_calls_that_wait_do_not() {
        let (quiet, stream, call) = (Entry::new(), Entry::new(), Entry::new());
        stream.request_began();
        stream.answer_began();
        call.request_began();
        let at_us = call.progress_us();
        for entry in [&quiet, &stream, &call] {
            assert!(!end_if_idle(entry, at_us + 900_000, 1_000_000));
        }
        assert!(end_if_idle(&quiet, at_us + 1_000_000, 1_000_000) && quiet.is_closing());
        assert!(!end_if_idle(&quiet, at_us + 1_200_000, 1_000_000), "it is counted once");
        assert!(end_if_idle(&stream, at_us + 1_000_000, 1_000_000));
        assert!(!end_if_idle(&call, at_us + 99_000_000, 1_000_000) && !call.is_closing());
    }
}

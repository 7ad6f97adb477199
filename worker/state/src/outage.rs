//! What the log says of something that comes and goes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use task_mcp_scoreboard::monotonic_ms;

/// It is there again when nothing has failed for so long.
pub(crate) const QUIET: Duration = Duration::from_millis(QUIET_MS);
const QUIET_MS: u64 = 5_000;
/// The log says at most so often that it is away, in milliseconds.
const EVERY_MS: u64 = 60_000;
const NEVER: u64 = u64::MAX;

/// Whether the log is to say that something is away, or there again. A server that fails now and then would fill the log with
/// both: so it is away from the first failure until some seconds have passed without one, and that is said at most once a minute.
#[derive(Debug)]
pub(crate) struct Outage {
    /// The log has said that it is away.
    is_told: AtomicBool,
    failed_ms: AtomicU64,
    told_ms: AtomicU64,
}

impl Default for Outage {
    fn default() -> Self {
        Self { is_told: AtomicBool::new(false), failed_ms: AtomicU64::new(0), told_ms: AtomicU64::new(NEVER) }
    }
}

impl Outage {
    /// It failed; whether that is to be told.
    pub(crate) fn failed(&self) -> bool {
        self.failed_at(monotonic_ms())
    }

    /// It did not fail; whether it is to be told that it is there again.
    pub(crate) fn succeeded(&self) -> bool {
        // As long as all is well, the clock is not looked at.
        self.is_told() && self.succeeded_at(monotonic_ms())
    }

    /// The log has said that it is away.
    pub(crate) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Relaxed)
    }

    fn failed_at(&self, now_ms: u64) -> bool {
        self.failed_ms.fetch_max(now_ms, Ordering::Relaxed);
        let told_ms = self.told_ms.load(Ordering::Relaxed);
        if told_ms != NEVER && now_ms.saturating_sub(told_ms) < EVERY_MS {
            return false;
        }
        let is_first = !self.is_told.swap(true, Ordering::Relaxed);
        if is_first {
            self.told_ms.store(now_ms, Ordering::Relaxed);
        }
        is_first
    }

    fn succeeded_at(&self, now_ms: u64) -> bool {
        let quiet_ms = now_ms.saturating_sub(self.failed_ms.load(Ordering::Relaxed));
        quiet_ms >= QUIET_MS && self.is_told.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_now_and_then_is_told_once_and_told_again_after_some_quiet() {
        let outage = Outage::default();
        let lines: Vec<_> = (0..3_000_u64)
            .map(|turn| turn * 100)
            .filter_map(|now_ms| match now_ms % 1_000 {
                // For 30 s of each minute and a half every tenth request fails.
                0 if now_ms % 90_000 < 30_000 => outage.failed_at(now_ms).then_some((now_ms, "away")),
                _ => outage.succeeded_at(now_ms).then_some((now_ms, "again")),
            })
            .collect();
        let pairs = [0, 90_000, 180_000, 270_000].map(|from_ms| [(from_ms, "away"), (from_ms + 34_000, "again")]);
        assert_eq!(lines, pairs.as_flattened()[..lines.len()]);
        assert_eq!(lines.len(), 7);
    }

    #[test]
    fn a_second_outage_within_a_minute_is_told_when_the_minute_is_over() {
        let outage = Outage::default();
        assert!(outage.failed_at(1_000) && !outage.failed_at(1_100));
        assert!(!outage.succeeded_at(6_099) && outage.succeeded_at(6_100) && !outage.succeeded_at(6_200));
        assert!(!outage.failed_at(7_000) && !outage.succeeded_at(30_000), "nothing is over that was not told");
        assert!(!outage.failed_at(60_999) && outage.failed_at(61_000));
        assert!(outage.succeeded_at(66_000));
    }
}

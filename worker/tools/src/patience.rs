//! How long a read may take. The time in which its client is asked is the client's: it has a limit of its own.

use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// Shortest wait before the limit is looked at again while a client is asked: so much longer a read may take that asks.
const LOOK: Duration = Duration::from_millis(50);

/// A limit whose clock can be stopped.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    began: Instant,
    stopped: Mutex<Stopped>,
}

/// When the clock did not run.
#[derive(Debug, Default)]
struct Stopped {
    /// Questions that are open, and since when there has been one.
    open: usize,
    since: Option<Instant>,
    /// In all, without the present time.
    before: Duration,
}

/// While it lives, the clock is stopped.
#[derive(Debug)]
pub(crate) struct Stop<'a>(&'a Patience);

impl Patience {
    /// A clock that runs from now on.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, began: Instant::now(), stopped: Mutex::default() }
    }

    /// Stops the clock; of several who do, the last one lets it run again.
    pub(crate) fn stop(&self) -> Stop<'_> {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.open += 1;
        stopped.since.get_or_insert_with(Instant::now);
        Stop(self)
    }

    /// Waits for `work` within the limit; `None` if it takes longer.
    pub(crate) async fn timeout<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut end = self.began + self.limit;
        loop {
            if let Ok(done) = timeout_at(end, work.as_mut()).await {
                return Some(done);
            }
            let now = Instant::now();
            let (stopped, is_stopped) = self.stopped(now);
            end = self.began + self.limit + stopped;
            if is_stopped {
                end = end.max(now + LOOK);
            } else if end <= now {
                return None;
            }
        }
    }

    /// For how long the clock has been stopped in all, and whether it is.
    fn stopped(&self, now: Instant) -> (Duration, bool) {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let present = stopped.since.map_or(Duration::ZERO, |since| now - since);
        (stopped.before + present, stopped.since.is_some())
    }
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        let mut stopped = self.0.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.open -= 1;
        if stopped.open == 0
            && let Some(since) = stopped.since.take()
        {
            stopped.before += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_question_does_not_count_and_all_other_time_does() {
        let patience = Patience::new(SECOND * 10);
        let asking = async {
            sleep(SECOND * 6).await;
            let first = patience.stop();
            sleep(SECOND * 100).await;
            let second = patience.stop();
            drop(first);
            sleep(SECOND * 100).await;
            drop(second);
            sleep(SECOND * 3).await;
        };
        assert_eq!(patience.timeout(asking).await, Some(()));
        let patience = Patience::new(SECOND * 10);
        let slow = async {
            sleep(SECOND * 6).await;
            let asked = patience.stop();
            sleep(SECOND * 100).await;
            drop(asked);
            sleep(SECOND * 5).await;
        };
        assert_eq!(patience.timeout(slow).await, None);
        assert_eq!(Patience::new(SECOND).timeout(sleep(SECOND * 2)).await, None);
    }
}

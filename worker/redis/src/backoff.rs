//! How long to wait before the next attempt.

use std::time::Duration;

use rand::RngExt;

/// Delays that grow from attempt to attempt, with full jitter: each is drawn from nothing up to a bound that doubles, so that
/// many processes that lost the same server do not come back in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, attempts: 0 }
    }

    /// The delay before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = self.bound();
        self.attempts = self.attempts.saturating_add(1);
        bound.mul_f64(rand::rng().random::<f64>())
    }

    /// Starts again with the first delay.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    fn bound(&self) -> Duration {
        self.first.saturating_mul(2u32.saturating_pow(self.attempts)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_bound_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(1000));
        for bound_ms in [100, 200, 400, 800, 1000, 1000] {
            assert_eq!(backoff.bound(), Duration::from_millis(bound_ms));
            assert!(backoff.next() <= Duration::from_millis(bound_ms));
        }
        (0..100).for_each(|_| _ = backoff.next());
        assert_eq!(backoff.bound(), Duration::from_millis(1000));
        backoff.reset();
        assert_eq!(backoff.bound(), Duration::from_millis(100));
    }
}

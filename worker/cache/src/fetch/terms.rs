//! How long results are kept.

use std::time::Duration;

use rand::RngExt;
use task_mcp_config::settings::Cache as Settings;

/// How long results are kept, and which are too large to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    ttl: Duration,
    stale: Duration,
    negative_ttl: Duration,
    /// Size of one value.
    pub(super) entry_bytes: u64,
    /// How long a lease lasts that is not renewed.
    pub(super) lease: Duration,
}

impl Terms {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            ttl: Duration::from_secs(settings.ttl_s),
            stale: Duration::from_secs(settings.stale_s),
            negative_ttl: Duration::from_secs(settings.negative_ttl_s),
            entry_bytes: settings.entry_bytes,
            lease: Duration::from_millis(settings.lease_ms),
        }
    }

    /// The same for a tier that takes no more than `entry_bytes` in one value.
    pub(crate) fn at_most(self, entry_bytes: u64) -> Self {
        Self { entry_bytes: self.entry_bytes.min(entry_bytes), ..self }
    }

    /// For a tier that keeps nothing.
    pub(crate) fn none() -> Self {
        let [ttl, stale, negative_ttl, lease] = [Duration::ZERO; 4];
        Self { ttl, stale, negative_ttl, entry_bytes: u64::MAX, lease }
    }

    /// For how long a result is fresh: up to a tenth less than its time, so that what was computed together is not computed anew
    /// together.
    pub(super) fn fresh(&self, ttl: Option<Duration>) -> Duration {
        shortened(ttl.unwrap_or(self.ttl))
    }

    /// For how long it may be answered after that.
    pub(super) fn stale(&self, allowed: bool) -> Duration {
        if allowed { self.stale } else { Duration::ZERO }
    }

    /// For how long an error is kept that is a fact; `None` if it is not kept.
    pub(super) fn negative(&self) -> Option<Duration> {
        (!self.negative_ttl.is_zero()).then(|| shortened(self.negative_ttl))
    }
}

fn shortened(time: Duration) -> Duration {
    time.mul_f64(1.0 - rand::rng().random_range(0.0..0.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shortened_by_up_to_a_tenth_and_not_all_by_the_same() {
        let times: Vec<_> = (0..200).map(|_| shortened(Duration::from_secs(300))).collect();
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(*least >= Duration::from_secs(270) && *most <= Duration::from_secs(300), "{least:?} to {most:?}");
        assert!(*most - *least > Duration::from_secs(10), "{least:?} to {most:?}");
    }
}

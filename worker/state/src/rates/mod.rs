//! How much each principal may send: over all workers of this machine in shared memory, over all machines in Redis.
//!
//! This machine is asked first. What it refuses, all machines together would: they let no more pass. So a flood that is refused
//! costs Redis nothing, and when Redis is away this machine knows what it has let pass itself: its limit goes on, never none. What
//! Redis refuses is not charged here either, and is refused here until Redis would let it pass.

mod shared;

use std::net::IpAddr;

use task_mcp_scoreboard::{Commons, Quota, Rated, Rates, monotonic_us};

pub(crate) use shared::SharedRates;

/// The rate limits of an instance. Cloning is cheap and shares them.
#[derive(Debug, Clone)]
pub struct RateLimits {
    rates: Rates,
    /// Known to this instance only, so that nobody can choose to share another's limit.
    secret: [u8; 32],
    shared: Option<SharedRates>,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer<'a> {
    /// An authenticated principal, by what tells it from all others.
    Principal(&'a [u8]),
    /// Whoever comes from this address: an IPv4 address, or a network of 64 bits of IPv6.
    Address(IpAddr),
}

/// What became of a request, and who said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What became of it.
    pub rated: Rated,
    /// The limit that machines share could not be asked: it was judged by what this machine has seen.
    pub is_local: bool,
}

impl RateLimits {
    /// Limits that hold over all processes that share these commons, and over all machines that share `shared`.
    pub(crate) fn new(commons: &Commons, shared: Option<SharedRates>) -> Self {
        let secret = blake3::derive_key("task-mcp rate limits 1", &commons.incarnation().to_le_bytes());
        Self { rates: commons.rates(), secret, shared }
    }

    /// Charges a request, if it is within the quota.
    pub async fn check(&self, payer: Payer<'_>, quota: Quota) -> Verdict {
        let (key, now_us) = (self.key(payer), monotonic_us());
        let rated = self.rates.check(key, now_us, quota, 1);
        let Some(shared) = self.shared.as_ref().filter(|_| matches!(rated, Rated::Allowed { .. })) else {
            return Verdict { rated, is_local: false };
        };
        let digest = payer.digest(blake3::Hasher::new()).finalize();
        match shared.check(&digest, quota, 1).await {
            Some(rated) => {
                if let Rated::Refused { retry_us, .. } = rated {
                    self.rates.refused_elsewhere(key, now_us, quota, 1, retry_us);
                }
                Verdict { rated, is_local: false }
            }
            None => Verdict { rated, is_local: true },
        }
    }

    fn key(&self, payer: Payer<'_>) -> u64 {
        let mut key = [0; 8];
        payer.digest(blake3::Hasher::new_keyed(&self.secret)).finalize_xof().fill(&mut key);
        u64::from_le_bytes(key)
    }
}

impl Payer<'_> {
    /// Feeds a hasher what tells payers apart.
    fn digest(self, mut hasher: blake3::Hasher) -> blake3::Hasher {
        match self {
            Payer::Principal(name) => hasher.update(b"principal\0").update(name),
            Payer::Address(address) => match address.to_canonical() {
                IpAddr::V4(address) => hasher.update(b"ipv4\0").update(&address.octets()),
                IpAddr::V6(address) => hasher.update(b"ipv6\0").update(address.octets().get(..8).unwrap_or_default()),
            },
        };
        hasher
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const QUOTA: Quota = Quota { period_us: 3_600_000_000, burst: 2 };

    async fn passes(limits: &RateLimits, payer: Payer<'_>) -> bool {
        matches!(limits.check(payer, QUOTA).await.rated, Rated::Allowed { .. })
    }

    #[tokio::test]
    async fn each_payer_has_its_own_and_all_processes_know_it() {
        let commons = Commons::create().unwrap();
        let (one, two) = (RateLimits::new(&commons, None), RateLimits::new(&commons, None));
        assert!(passes(&one, Payer::Principal(b"a")).await && passes(&two, Payer::Principal(b"a")).await);
        assert!(!passes(&one, Payer::Principal(b"a")).await && !passes(&two, Payer::Principal(b"a")).await);
        assert!(passes(&one, Payer::Principal(b"b")).await);
        let address = |text: &str| Payer::Address(text.parse().unwrap());
        for text in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2"] {
            assert!(passes(&one, address(text)).await, "{text}");
        }
        for text in ["192.0.2.1", "2001:db8::3"] {
            assert!(!passes(&one, address(text)).await, "{text}");
        }
    }
}

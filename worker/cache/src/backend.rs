//! The tier of the settings.

use std::time::Duration;

use task_mcp_telemetry::CacheFault;

use crate::embedded::Embedded;
use crate::none::None;
use crate::operations::{Health, Inspected, Stats};
use crate::redis::RedisTier;
use crate::tier::{Entry, Lease, Looked, Tier, Token};
use crate::{CacheError, Key, Tag};

/// One of the tiers.
#[derive(Debug)]
pub(crate) enum Backend {
    /// Nothing is kept.
    None(None),
    /// LMDB, shared by the processes of an instance.
    Embedded(Embedded),
    /// Redis, shared by machines.
    Redis(Box<RedisTier>),
}

/// Does the same with whichever it is.
macro_rules! of_each {
    ($backend:expr, $tier:ident => $what:expr) => {
        match $backend {
            Backend::None($tier) => $what,
            Backend::Embedded($tier) => $what,
            Backend::Redis($tier) => $what,
        }
    };
}

impl Tier for Backend {
    async fn look(&self, key: &Key, tags: &[Tag]) -> Looked {
        of_each!(self, tier => tier.look(key, tags).await)
    }

    async fn lease(&self, key: &Key) -> Lease {
        of_each!(self, tier => tier.lease(key).await)
    }

    async fn renew(&self, key: &Key, token: Token) -> bool {
        of_each!(self, tier => tier.renew(key, token).await)
    }

    async fn release(&self, key: &Key, token: Token) {
        of_each!(self, tier => tier.release(key, token).await);
    }

    async fn store(&self, key: &Key, entry: Entry, token: Option<Token>) -> Result<(), CacheFault> {
        of_each!(self, tier => tier.store(key, entry, token).await)
    }

    async fn bump(&self, tags: &[Tag]) {
        of_each!(self, tier => tier.bump(tags).await);
    }

    fn others_may_write(&self) -> bool {
        of_each!(self, tier => tier.others_may_write())
    }
}

impl Backend {
    /// Size of one value at most, whatever the settings allow.
    pub(crate) fn entry_bytes(&self) -> u64 {
        match self {
            Self::None(_) | Self::Redis(_) => u64::MAX,
            Self::Embedded(tier) => tier.entry_bytes(),
        }
    }

    pub(crate) async fn keep_house(&self, every: Duration) {
        match self {
            Self::None(_) => std::future::pending().await,
            Self::Embedded(tier) => tier.keep_house(every).await,
            Self::Redis(tier) => tier.keep_house().await,
        }
    }

    pub(crate) fn health(&self) -> Health {
        match self {
            Self::None(_) => Health { configured: "none", in_force: "none", reason: None },
            Self::Embedded(tier) => tier.health(),
            Self::Redis(tier) => tier.health(),
        }
    }

    pub(crate) async fn stats(&self) -> Stats {
        match self {
            Self::None(_) => Stats::of(self.health()),
            Self::Embedded(tier) => tier.stats().await,
            Self::Redis(tier) => tier.stats().await,
        }
    }

    pub(crate) async fn inspect(&self, pattern: &str, limit: usize) -> Result<Vec<Inspected>, CacheError> {
        match self {
            Self::None(_) => Ok(Vec::new()),
            Self::Embedded(tier) => tier.inspect(pattern, limit).await,
            Self::Redis(tier) => tier.inspect(pattern, limit).await,
        }
    }

    pub(crate) async fn invalidate_pattern(&self, pattern: &str) -> Result<u64, CacheError> {
        match self {
            Self::None(_) => Ok(0),
            Self::Embedded(tier) => tier.invalidate_pattern(pattern).await,
            Self::Redis(tier) => tier.invalidate_pattern(pattern).await,
        }
    }
}

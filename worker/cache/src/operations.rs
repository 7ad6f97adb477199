//! What operators ask of a cache.

use serde::Serialize;

use crate::tier::Tier;
use crate::{Cache, CacheError, Tag};

/// How the cache is, for people and for readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The tier of the settings: "embedded", "redis" or "none".
    pub configured: &'static str,
    /// The tier that answers now.
    pub in_force: &'static str,
    /// Why they differ.
    pub reason: Option<String>,
}

/// What a cache holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// The tier, and whether it answers.
    #[serde(flatten)]
    pub health: Health,
    /// Entries, some of which may be past their time or behind their tags; `None` if the tier cannot tell.
    pub entries: Option<u64>,
    /// Bytes the tier uses for them.
    pub used_bytes: Option<u64>,
    /// Bytes it may use.
    pub max_bytes: Option<u64>,
}

impl Stats {
    /// Nothing is known but the tier.
    pub(crate) fn of(health: Health) -> Self {
        Self { health, entries: None, used_bytes: None, max_bytes: None }
    }
}

/// What is told of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspected {
    /// Its key, 64 hexadecimal digits.
    pub key: String,
    /// The tool and what it was asked.
    pub name: String,
    /// Whether it would be answered: "fresh", "stale" (past its time), "over" (past its stale time) or "invalidated" (a tag moved on).
    pub state: &'static str,
    /// How long ago it was computed, in milliseconds.
    pub age_ms: u64,
    /// Bytes in the tier.
    pub stored_bytes: u64,
    /// Whether it is an error.
    pub error: bool,
}

impl Cache {
    /// What the cache holds.
    pub async fn stats(&self) -> Stats {
        self.engine.tier.stats().await
    }

    /// At most `limit` entries whose key or name matches `pattern`, where `*` stands for anything and `?` for one character.
    ///
    /// # Errors
    /// The tier does not answer.
    pub async fn inspect(&self, pattern: &str, limit: usize) -> Result<Vec<Inspected>, CacheError> {
        self.engine.tier.inspect(pattern, limit).await
    }

    /// Takes all results that depend on what a tag stands for as untrue, as a write to it does.
    pub async fn invalidate_tag(&self, tag: &str) {
        self.engine.tier.bump(&[Tag::new(tag)]).await;
    }

    /// Removes the entries whose key or name matches `pattern`, as for [`Cache::inspect`], and tells how many there were.
    ///
    /// # Errors
    /// The tier does not answer; some may have been removed.
    pub async fn invalidate_pattern(&self, pattern: &str) -> Result<u64, CacheError> {
        self.engine.tier.invalidate_pattern(pattern).await
    }

    /// Removes all entries and tells how many there were.
    ///
    /// # Errors
    /// As [`Cache::invalidate_pattern`].
    pub async fn flush(&self) -> Result<u64, CacheError> {
        self.invalidate_pattern("*").await
    }
}

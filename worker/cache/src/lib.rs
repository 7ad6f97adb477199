//! The shared cache of tool results: computed once for all workers, never served after a write that has answered.
//!
//! # Layout
//! - `key`: what names an entry; `tag`: what an entry depends on; `value`: what is kept
//! - `tier`: what a shared tier does
//! - `fetch`: the one way to an answer: entry, else wait for who computes it, else compute
//! - `error`: why a cache cannot be opened
//!
//! # Invariants
//! - An entry is answered only if the epoch of each of its tags is what it was before its computation began.
//! - The cache is never the reason a call fails or waits: every operation has a budget, and what fails is a miss.
//! - Nothing here knows tools, principals or HTTP.

mod error;
mod fetch;
mod key;
mod tag;
#[expect(dead_code, reason = "its backends are being written")]
mod tier;
mod value;

use task_mcp_config::Settings;
use task_mcp_scoreboard::Commons;
use task_mcp_telemetry::{CacheMetrics, RedisMetrics};

pub use error::CacheError;
pub use fetch::{Computed, Fetched, Wanted};
pub use key::Key;
pub use tag::Tag;
pub use value::Value;

/// The cache of one process. Cloning is cheap and shares it.
#[derive(Debug, Clone)]
pub struct Cache {
    epochs: task_mcp_scoreboard::Epochs,
    metrics: CacheMetrics,
}

/// How the cache is, for people and for readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The tier of the settings: "embedded", "redis" or "none".
    pub configured: &'static str,
    /// The tier that answers now.
    pub in_force: &'static str,
    /// Why they differ.
    pub reason: Option<String>,
}

impl Cache {
    /// Opens the tier of the settings for one process of an instance; within a tokio runtime. `store_id` names the data the
    /// results are about.
    ///
    /// # Errors
    /// The settings cannot be used. A tier that cannot be reached or is broken is no error: the cache goes on without.
    pub fn open(
        _settings: &Settings,
        _store_id: &str,
        commons: &Commons,
        metrics: CacheMetrics,
        _redis: RedisMetrics,
    ) -> Result<Self, CacheError> {
        Ok(Self::none(commons, metrics))
    }

    /// Keeps nothing; the same computation is still done once at a time. For a process that runs alone, and for `none`.
    pub fn none(commons: &Commons, metrics: CacheMetrics) -> Self {
        Self { epochs: commons.epochs(), metrics }
    }

    /// Says that what these tags stand for has changed: no entry from before is answered once this has returned. After a write is
    /// committed, before it is answered. It takes no longer than the budget; what could not be told to other machines is told later.
    pub async fn bump(&self, tags: &[Tag]) {
        for tag in tags {
            self.epochs.bump(tag.as_str());
        }
    }

    /// Does the chores of the machine, for ever: for one process of an instance.
    pub async fn keep_house(&self) {
        std::future::pending::<()>().await;
    }

    /// How the cache is.
    pub fn health(&self) -> Health {
        Health { configured: "none", in_force: "none", reason: None }
    }
}

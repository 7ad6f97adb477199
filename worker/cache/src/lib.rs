//! The shared cache of tool results: computed once for all workers, never served after a write that has answered.
//!
//! # Layout
//! - `key`: what names an entry; `tag`: what an entry depends on; `value`: what is kept
//! - `entry`: the bytes of an entry, the same in every tier
//! - `tier`: what a shared tier does; `backend`: the one of the settings
//! - `embedded`: LMDB in the runtime directory; `redis`: Redis, which machines share; `none`: nothing is kept
//! - `fetch`: the one way to an answer: entry, else wait for who computes it, else compute
//! - `operations`: what operators ask; `pattern`: how they name entries
//! - `error`: why a cache cannot be opened or asked
//!
//! # Invariants
//! - An entry is answered only if the epoch of each of its tags is what it was before its computation began; nobody waits for a
//!   computation that began before a write the caller may know of had ended.
//! - The cache is never the reason a call fails or waits: every operation has a budget, and what fails is a miss.
//! - Bytes of a tier are checked before they are believed; what is not an entry is a miss, counted.
//! - Nothing here knows tools, principals or HTTP.
//! - `unsafe` is in `embedded/environment.rs` only: opening an LMDB file.

mod backend;
#[cfg(test)]
mod contract;
mod embedded;
mod entry;
mod error;
mod fetch;
mod key;
mod none;
mod operations;
mod pattern;
mod redis;
mod tag;
#[cfg(test)]
mod testing;
mod tier;
mod value;

use std::sync::Arc;
use std::time::Duration;

use task_mcp_config::Settings;
use task_mcp_config::settings::CacheBackend;
use task_mcp_scoreboard::Commons;
use task_mcp_telemetry::{CacheMetrics, RedisMetrics};

use crate::backend::Backend;
use crate::embedded::Embedded;
use crate::fetch::{Engine, Terms};
use crate::redis::RedisTier;
use crate::tier::Tier;

pub use error::CacheError;
pub use fetch::{Computed, Fetched, Wanted};
pub use key::Key;
pub use operations::{Health, Inspected, Stats};
pub use tag::Tag;
pub use value::Value;

/// How often the housekeeper looks round.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// The cache of one process. Cloning is cheap and shares it.
#[derive(Debug, Clone)]
pub struct Cache {
    engine: Arc<Engine<Backend>>,
}

impl Cache {
    /// Opens the tier of the settings for one process of an instance; within a tokio runtime. `store_id` names the data the
    /// results are about.
    ///
    /// # Errors
    /// The settings cannot be used. A tier that cannot be reached or is broken is no error: the cache goes on without. What is in
    /// Redis is trusted once one process of the machine keeps house ([`Cache::keep_house`]).
    pub fn open(
        settings: &Settings,
        store_id: &str,
        commons: &Commons,
        metrics: CacheMetrics,
        redis: RedisMetrics,
    ) -> Result<Self, CacheError> {
        let backend = match settings.cache.backend {
            CacheBackend::Embedded => Backend::Embedded(Embedded::open(settings, commons, metrics.clone())),
            CacheBackend::Redis => {
                Backend::Redis(Box::new(RedisTier::open(settings, store_id, commons, metrics.clone(), redis)?))
            }
            CacheBackend::None => Backend::None(none::None::new(commons)),
        };
        let terms = Terms::new(&settings.cache).at_most(backend.entry_bytes());
        Ok(Self::over(backend, terms, commons, metrics))
    }

    /// Keeps nothing; the same computation is still done once at a time. For a process that runs alone, and for `none`.
    pub fn none(commons: &Commons, metrics: CacheMetrics) -> Self {
        Self::over(Backend::None(none::None::new(commons)), Terms::none(), commons, metrics)
    }

    fn over(backend: Backend, terms: Terms, commons: &Commons, metrics: CacheMetrics) -> Self {
        Self { engine: Arc::new(Engine::new(backend, terms, commons, metrics)) }
    }

    /// Says that what these tags stand for has changed: no entry from before is answered once this has returned. After a write is
    /// committed, before it is answered. It takes no longer than the budget; what could not be told to other machines is told later.
    pub async fn bump(&self, tags: &[Tag]) {
        self.engine.tier.bump(tags).await;
    }

    /// Does the chores of the machine, for ever: for one process of an instance.
    pub async fn keep_house(&self) {
        self.engine.tier.keep_house(HOUSEKEEPING).await;
    }

    /// How the cache is.
    pub fn health(&self) -> Health {
        self.engine.tier.health()
    }
}

//! The tier in Redis, which machines share.
//!
//! # Layout
//! - `keys`: what its keys are called; `scripts`: what happens at the server in one step; `answers`: what it answers
//! - `machine`: what the processes of a machine know together of the epochs in Redis
//! - `members`: the machines that share it, and what follows if one of them cannot be heard; `member`: how this machine
//!   remains one
//! - `memory`: entries in the memory of the process
//! - `read`, `write`, `lease`: the operations
//! - `house`: what one process does for its machine; `adoption`: what follows from what it found
//! - `operations`: what operators ask; `standing`: whether it can be used now
//!
//! # Coherence
//! The epochs of all tags are one hash in Redis, with a random incarnation. Stamps name the incarnation *at one run of
//! one server*, so a server that was flushed, restarted or failed over to never revives an entry. A machine trusts one
//! incarnation at a time, the one its housekeeper has adopted. Where the housekeeper arrives for the first time (a new
//! machine, another server), it begins a new incarnation: bumps that the server before took and lost, and those that
//! died with a machine, cannot matter any more.
//!
//! A bump counts first locally, then in Redis, then is noted as told. In between, or for ever if its process died, the
//! machine trusts no entry with that tag; the housekeeper sends what stays untold.
//!
//! Other machines trust what they read because each machine is a member for a second at a time: a write that could not be
//! told is answered when that time is over, and then nobody trusts anything until the machine has told it, or is given up.

mod adoption;
mod answers;
mod house;
mod keys;
mod lease;
mod machine;
mod member;
mod members;
mod memory;
mod operations;
mod read;
mod scripts;
mod standing;
#[cfg(test)]
mod tests;
mod write;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue};
use task_mcp_config::Settings;
use task_mcp_config::settings::Coherence;
use task_mcp_redis::{Answer, Commands, Purpose, Redis, RedisError, Script};
use task_mcp_scoreboard::Commons;
use task_mcp_telemetry::{CacheFault, CacheMetrics, RedisMetrics};

use self::keys::Keys;
use self::machine::Machine;
use self::members::GRACE_MS;
use self::memory::Memory;
use self::scripts::Scripts;
use self::standing::Watch;
use crate::operations::Health;
use crate::tier::{Entry, Lease, Looked, Tier, Token};
use crate::{Key, Tag};

/// How long a warning that may come with every read is not repeated.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// The tier in Redis, of one process.
#[derive(Debug)]
pub(crate) struct RedisTier {
    redis: Redis,
    keys: Keys,
    scripts: Scripts,
    machine: Machine,
    memory: Memory,
    metrics: CacheMetrics,
    /// Whether memory may be answered from without a question to Redis.
    tracked: bool,
    budget: Duration,
    lease: Duration,
    /// How long a member may be away before it is given up.
    grace_ms: u64,
    entry_bytes: u64,
    compress_bytes: u64,
    said_foreign: AtomicBool,
    said_corrupt: AtomicBool,
    /// When it was last said that epochs went back.
    said_went_back: Mutex<Option<Instant>>,
    _watch: Watch,
}

impl RedisTier {
    /// Opens it for one process; within a tokio runtime. It connects in the background.
    ///
    /// # Errors
    /// The settings of the connection cannot be used.
    pub(crate) fn open(
        settings: &Settings,
        store_id: &str,
        commons: &Commons,
        metrics: CacheMetrics,
        redis: RedisMetrics,
    ) -> Result<Self, RedisError> {
        let keys = Keys::new(&settings.redis.prefix, store_id);
        let redis = Redis::open(&settings.redis, Purpose::Cache, &keys.epochs, redis)?;
        let cache = &settings.cache;
        let machine = Machine::new(commons);
        Ok(Self {
            _watch: Watch::start(redis.clone(), machine.clone(), metrics.degraded.clone()),
            redis,
            keys,
            scripts: Scripts::new(),
            machine,
            memory: Memory::new(cache.entries),
            metrics,
            tracked: cache.coherence == Coherence::Tracked,
            budget: Duration::from_millis(cache.budget_ms),
            lease: Duration::from_millis(cache.lease_ms),
            grace_ms: settings.redis.retry_max_ms.saturating_mul(2).max(GRACE_MS),
            entry_bytes: cache.entry_bytes,
            compress_bytes: cache.compress_bytes,
            said_foreign: AtomicBool::new(false),
            said_corrupt: AtomicBool::new(false),
            said_went_back: Mutex::default(),
        })
    }

    /// How it is.
    pub(crate) fn health(&self) -> Health {
        let reason = standing::reason(&self.redis, &self.machine);
        Health { configured: "redis", in_force: if reason.is_none() { "redis" } else { "none" }, reason }
    }

    /// What is left of the budget of an operation.
    fn left(&self, began: Instant) -> Duration {
        self.budget.saturating_sub(began.elapsed())
    }

    /// Asks within the budget of an operation.
    async fn within<T: FromRedisValue + Send>(
        &self,
        commands: impl Into<Commands>,
        began: Instant,
    ) -> Result<Answer<T>, CacheFault> {
        self.redis.ask(commands, self.left(began)).await.map_err(|error| fault(&error))
    }

    /// Runs a script; `arguments` adds what follows the keys.
    async fn run<T: FromRedisValue + Send>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: impl Fn(&mut Cmd),
        budget: Duration,
    ) -> Result<Answer<T>, CacheFault> {
        self.redis.run(script, keys, arguments, budget).await.map_err(|error| fault(&error))
    }

    /// Counts what went wrong. What is wrong with entries is also said, once: it is for an operator to look into, and
    /// comes in numbers.
    fn failed(&self, fault: CacheFault) {
        self.metrics.failed(fault);
        if fault == CacheFault::Foreign && !self.said_foreign.swap(true, Ordering::Relaxed) {
            tracing::warn!("Redis holds entries of another version; they are taken for missing.");
        }
        if fault == CacheFault::Corrupt && !self.said_corrupt.swap(true, Ordering::Relaxed) {
            tracing::warn!("Redis holds or answers what makes no sense; it is taken for missing.");
        }
    }

    /// Says that epochs in Redis are lower than they were. Somebody may edit them all the time, so not each time.
    fn say_went_back(&self) {
        let now = Instant::now();
        let mut said = self.said_went_back.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|said| now.duration_since(said) >= SAY_AGAIN) {
            *said = Some(now);
            tracing::warn!("Tag epochs in Redis went back; no result from before is answered.");
        }
    }
}

/// What a failed command is to the cache.
fn fault(error: &RedisError) -> CacheFault {
    match error {
        RedisError::Timeout { .. } => CacheFault::Timeout,
        RedisError::Nonsense(_) => CacheFault::Corrupt,
        RedisError::Server(_) if error.code().as_deref() == Some("OOM") => CacheFault::Full,
        RedisError::Server(_) if error.code().as_deref() == Some("WRONGTYPE") => CacheFault::Corrupt,
        _ => CacheFault::Unavailable,
    }
}

impl Tier for RedisTier {
    async fn look(&self, key: &Key, tags: &[Tag]) -> Looked {
        self.find(key, tags).await
    }

    async fn lease(&self, key: &Key) -> Lease {
        self.take_lease(key).await
    }

    async fn renew(&self, key: &Key, token: Token) -> bool {
        self.prolong_lease(key, token).await
    }

    async fn release(&self, key: &Key, token: Token) {
        self.give_back_lease(key, token).await;
    }

    async fn store(&self, key: &Key, entry: Entry, token: Option<Token>) -> Result<(), CacheFault> {
        let kept = self.keep(key, entry, token).await;
        if let Err(fault) = kept {
            self.failed(fault);
        }
        kept
    }

    async fn bump(&self, tags: &[Tag]) {
        self.move_on(tags).await;
    }

    fn others_may_write(&self) -> bool {
        let membership = self.machine.remote.membership();
        membership.others > 0 || membership.until_ms == 0
    }
}

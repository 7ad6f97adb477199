//! Records: a value under a kind and a key, until it ends. Three places hold them, with one behaviour.
//!
//! - `record`: what a record is, and its form in storage; `operation`: what a change does
//! - `memory`: in one process; `embedded`: in files that the processes of an instance share; `remote`: in Redis

mod embedded;
mod memory;
mod operation;
mod record;
mod remote;
mod standing;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use task_mcp_redis::Redis;
use task_mcp_telemetry::StateMetrics;

use self::embedded::Embedded;
use self::memory::Memory;
use self::operation::{Change, Condition, Write, Written};
pub use self::record::Unreadable;
use self::record::end_of;
pub(crate) use self::record::{Kind, Record, Version, now_ms};
use self::remote::Remote;
use self::standing::Standing;
use crate::StateError;

/// Longest key, in bytes. LMDB takes 511 with the kind and the end.
pub(crate) const KEY_BYTES_MAX: usize = 400;
/// Longest value, in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 16 << 20;
/// Most records of one answer.
pub(crate) const LIST_MAX: usize = 1_000;
/// Pause between two looks for records that have ended, and between two steps of one look.
const SWEEP_PAUSE: Duration = Duration::from_secs(10);
const STEP_PAUSE: Duration = Duration::from_millis(20);

/// The records of one process. Cloning is cheap and shares them.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    backend: Backend,
    limit: Duration,
    standing: Standing,
    metrics: Arc<StateMetrics>,
}

#[derive(Debug, Clone)]
enum Backend {
    Memory(Memory),
    Embedded(Embedded),
    Remote(Remote),
}

/// What became of a record that was to be a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It is there now.
    New(Version),
    /// Another one was there.
    Exists(Record),
}

impl Records {
    /// Records of this process alone.
    pub(crate) fn memory(metrics: StateMetrics) -> Self {
        Self {
            backend: Backend::Memory(Memory::default()),
            limit: Duration::MAX,
            standing: Standing::default(),
            metrics: Arc::new(metrics),
        }
    }

    /// Records in files below `state_dir`, of at most `max_bytes`; an operation may take `limit`.
    pub(crate) fn embedded(
        state_dir: &Path,
        max_bytes: u64,
        limit: Duration,
        metrics: StateMetrics,
    ) -> Result<Self, StateError> {
        Ok(Self {
            backend: Backend::Embedded(Embedded::open(state_dir, max_bytes)?),
            limit,
            standing: Standing::default(),
            metrics: Arc::new(metrics),
        })
    }

    /// Records in Redis, with keys that begin with `base`, which has a hash tag; an operation may take `limit`.
    pub(crate) fn remote(redis: Redis, base: &str, limit: Duration, metrics: StateMetrics) -> Self {
        Self {
            backend: Backend::Remote(Remote::new(redis, base)),
            limit,
            standing: Standing::default(),
            metrics: Arc::new(metrics),
        }
    }

    /// Whether a look costs next to nothing: no system call and no network.
    pub(crate) fn are_near(&self) -> bool {
        match self.backend {
            Backend::Memory(_) | Backend::Embedded(_) => true,
            Backend::Remote(_) => false,
        }
    }

    /// The record, unless it has ended.
    pub(crate) async fn get(&self, kind: Kind, key: &str) -> Result<Option<Record>, StateError> {
        let begun = Instant::now();
        let path = path(kind, key)?;
        let found = match &self.backend {
            Backend::Memory(memory) => Ok(memory.get(&path)),
            Backend::Embedded(embedded) => embedded.get(&path),
            Backend::Remote(remote) => remote.get(kind, key, self.limit).await,
        };
        self.metrics.read(begun.elapsed());
        self.judged(found)
    }

    /// Puts a record there, whatever there was.
    pub(crate) async fn put(
        &self,
        kind: Kind,
        key: &str,
        value: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<Version, StateError> {
        let version = Version::fresh();
        let change = Change::Put { value: value.into(), version, end_ms: Some(end_of(ttl)) };
        self.write(kind, key, Condition::Always, change).await?;
        Ok(version)
    }

    /// Puts a record there if there is none.
    pub(crate) async fn insert(
        &self,
        kind: Kind,
        key: &str,
        value: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<Inserted, StateError> {
        self.insert_as(Version::fresh(), kind, key, value, ttl).await
    }

    /// The same under a version of the caller's, who can find the record by it should it be made after the limit.
    pub(crate) async fn insert_as(
        &self,
        version: Version,
        kind: Kind,
        key: &str,
        value: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<Inserted, StateError> {
        let change = Change::Put { value: value.into(), version, end_ms: Some(end_of(ttl)) };
        match self.write(kind, key, Condition::Absent, change).await? {
            Written::Refused(Some(record)) => Ok(Inserted::Exists(record)),
            Written::Done(_) | Written::Refused(None) => Ok(Inserted::New(version)),
        }
    }

    /// Gives a record another value, and another end if `ttl` says so; `None` if it is not as `version` says any more.
    pub(crate) async fn replace(
        &self,
        kind: Kind,
        key: &str,
        version: Version,
        value: impl Into<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<Option<Version>, StateError> {
        let fresh = Version::fresh();
        let change = Change::Put { value: value.into(), version: fresh, end_ms: ttl.map(end_of) };
        let written = self.write(kind, key, Condition::Is(version), change).await?;
        Ok(matches!(written, Written::Done(_)).then_some(fresh))
    }

    /// Takes a record away: it is given to one caller only.
    pub(crate) async fn take(&self, kind: Kind, key: &str) -> Result<Option<Record>, StateError> {
        match self.write(kind, key, Condition::Always, Change::Remove).await? {
            Written::Done(record) => Ok(record),
            Written::Refused(_) => Ok(None),
        }
    }

    /// Takes a record away if it is as `version` says; whether it was.
    pub(crate) async fn remove(&self, kind: Kind, key: &str, version: Version) -> Result<bool, StateError> {
        let written = self.write(kind, key, Condition::Is(version), Change::Remove).await?;
        Ok(matches!(written, Written::Done(_)))
    }

    /// Up to `limit` records (and [`LIST_MAX`]) whose keys begin with `prefix` and come after `after`, in the order of their keys.
    pub(crate) async fn list(
        &self,
        kind: Kind,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Record)>, StateError> {
        let begun = Instant::now();
        let (first, last, limit) = (path(kind, prefix)?, path(kind, after)?, limit.min(LIST_MAX));
        let head = kind.path("").len();
        let key = |path: Vec<u8>| String::from_utf8_lossy(path.get(head..).unwrap_or_default()).into_owned();
        let keys =
            |found: Vec<(Vec<u8>, Record)>| found.into_iter().map(|(path, record)| (key(path), record)).collect();
        let found = match &self.backend {
            Backend::Memory(memory) => Ok(keys(memory.list(&first, &last, limit))),
            Backend::Embedded(embedded) => embedded.list(&first, &last, limit).map(keys),
            Backend::Remote(remote) => remote.list(kind, prefix, after, limit, self.limit).await,
        };
        self.metrics.read(begun.elapsed());
        self.judged(found)
    }

    /// What is wrong with the records, in a word; `None` if nothing is.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        self.standing.reason()
    }

    /// Where they are, as the settings call it.
    pub(crate) fn backend(&self) -> &'static str {
        match self.backend {
            Backend::Memory(_) => "memory",
            Backend::Embedded(_) => "embedded",
            Backend::Remote(_) => "redis",
        }
    }

    /// Whether what is written now will be found by others: costs a system call.
    ///
    /// # Errors
    /// The files are not those that were opened.
    pub(crate) fn in_place(&self) -> Result<(), StateError> {
        match &self.backend {
            Backend::Embedded(embedded) => self.judged(embedded.in_place()),
            Backend::Memory(_) | Backend::Remote(_) => Ok(()),
        }
    }

    /// Finds out whether the records can be used, also if nobody uses them: what failed is tried again.
    pub(crate) async fn probe(&self) {
        // Each outcome counts as any other operation's.
        if self.in_place().is_err() {
            return;
        }
        let _ = match self.trouble() {
            None => self.get(Kind::Probe, "").await.map(drop),
            Some(_) => self.put(Kind::Probe, "", Vec::new(), Duration::from_secs(60)).await.map(drop),
        };
    }

    /// Removes what has ended, for ever.
    pub(crate) async fn keep_house(&self) {
        let Backend::Embedded(embedded) = &self.backend else { return std::future::pending().await };
        let mut failed = false;
        loop {
            let done = match embedded.sweep(self.limit).await {
                Ok(0) => embedded.clear_stale_readers(),
                swept => swept,
            };
            if done.is_err() != failed {
                failed = !failed;
                match &done {
                    Ok(_) => tracing::info!("State that has ended is removed again."),
                    Err(error) => {
                        tracing::warn!(error = %error, "State that has ended cannot be removed; it is tried again.");
                    }
                }
            }
            let more = matches!(done, Ok(removed) if removed > 0);
            tokio::time::sleep(if more { STEP_PAUSE } else { SWEEP_PAUSE }).await;
        }
    }

    /// What another process does that is stopped within a write of the files.
    #[cfg(test)]
    pub(crate) fn holds_the_lock(&self) -> heed::RwTxn<'_> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.holds_the_lock(),
            Backend::Memory(_) | Backend::Remote(_) => unreachable!("records in files"),
        }
    }

    async fn write(&self, kind: Kind, key: &str, condition: Condition, change: Change) -> Result<Written, StateError> {
        if let Change::Put { value, .. } = &change {
            within("value", value.len(), VALUE_BYTES_MAX)?;
        }
        let begun = Instant::now();
        // What ends something that was begun, or protects somebody, may take the room that is kept for that.
        let is_vital = match kind {
            Kind::Revocation | Kind::Runner => true,
            Kind::Call | Kind::Task => matches!(condition, Condition::Is(_)),
            _ => false,
        };
        let is_new = !is_vital && matches!(change, Change::Put { .. });
        let write = Write { path: path(kind, key)?, condition, change, is_vital };
        let written = match &self.backend {
            Backend::Memory(memory) => memory.write(&write),
            Backend::Embedded(embedded) => embedded.write(write, self.limit).await,
            Backend::Remote(remote) => remote.write(kind, key, &write, self.limit).await,
        };
        self.metrics.wrote(begun.elapsed());
        if is_new && written.is_ok() {
            self.standing.wrote();
        }
        self.judged(written)
    }

    /// Counts what failed.
    fn judged<T>(&self, outcome: Result<T, StateError>) -> Result<T, StateError> {
        outcome.inspect_err(|error| {
            self.metrics.faults.add(1);
            self.standing.failed(error);
        })
    }
}

fn path(kind: Kind, key: &str) -> Result<Vec<u8>, StateError> {
    within("key", key.len(), KEY_BYTES_MAX)?;
    Ok(kind.path(key))
}

fn within(what: &'static str, bytes: usize, limit_bytes: usize) -> Result<(), StateError> {
    if bytes > limit_bytes {
        return Err(StateError::TooLarge { what, bytes, limit_bytes });
    }
    Ok(())
}

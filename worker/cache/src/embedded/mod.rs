//! The embedded tier: one LMDB file in the runtime directory, mapped by all processes of an instance.
//!
//! - `environment`: opens a file; `room`: takes its room first; `directory`: where files lie; `data_file`: what is in one
//! - `shared`: the file in force, and the way to the next one when it is broken
//! - `writer`: the one thread of a process that writes
//! - `chores`: what the housekeeper does; `questions`: what operators ask
//! - `standing`: how the tier stands
//!
//! Whether an entry is true is said by the epochs in the commons: a read takes no system call for that. Leases are in the commons
//! too, so they hold while nothing can be stored.

mod chores;
mod data_file;
mod directory;
mod environment;
mod questions;
mod room;
mod shared;
mod standing;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use task_mcp_config::Settings;
use task_mcp_scoreboard::{Commons, Fence, Leased, monotonic_ms};
use task_mcp_telemetry::{CacheFault, CacheMetrics, CacheOperation};

use self::shared::Shared;
use self::standing::Trouble;
use self::writer::Writer;
use crate::entry::{Freshness, Sealed, freshness, unix_ms};
use crate::operations::Health;
use crate::tier::{Entry, Found, Lease, Looked, Tier, Token};
use crate::{Key, Tag};

/// How long a process that starts waits for its file.
const OPENING: Duration = Duration::from_secs(1);
/// How often a process looks whether another is done with changing a cell of leases, which takes a handful of instructions; and how
/// many times: it may have been stopped there.
const UNSETTLED_STEP: Duration = Duration::from_millis(1);
const UNSETTLED_STEPS: usize = 25;

/// LMDB, shared by the processes of an instance.
#[derive(Debug)]
pub(crate) struct Embedded {
    shared: Arc<Shared>,
    /// `None` if its thread could not be started: nothing is stored.
    writer: Option<Writer>,
    lease_ms: u64,
}

impl Embedded {
    /// Opens the file of this incarnation of the commons. What goes wrong is told by [`Embedded::health`].
    pub(crate) fn open(settings: &Settings, commons: &Commons, metrics: CacheMetrics) -> Self {
        let shared = Arc::new(Shared::new(settings, commons, metrics));
        shared.open_within(OPENING);
        let writer = Writer::start(&shared, Duration::from_millis(settings.cache.budget_ms));
        if let Err(error) = &writer {
            shared.standing.fell(Trouble::NoStore(error.to_string()));
        }
        Self { shared, writer: writer.ok(), lease_ms: settings.cache.lease_ms }
    }

    /// Size of one value at most.
    pub(crate) fn entry_bytes(&self) -> u64 {
        self.shared.entry_bytes
    }

    pub(crate) fn health(&self) -> Health {
        self.shared.standing.health()
    }

    fn look_now(&self, key: &Key, tags: &[Tag]) -> Looked {
        let shared = &self.shared;
        let Some(file) = shared.file() else { return Looked::Untrusted };
        let Some(file) = file.as_ref() else { return Looked::Untrusted };
        let found = match file.read(key, |bytes| bytes.map_or(Ok(None), |bytes| self.answer(key, tags, bytes))) {
            Ok(Ok(found)) => found,
            Ok(Err(fault)) => {
                shared.metrics.failed(fault);
                if fault == CacheFault::Corrupt {
                    shared.count_fault(file, &"entries are not what was stored");
                }
                None
            }
            Err(error) => {
                shared.metrics.failed(shared.judge(file, &error));
                return Looked::Untrusted;
            }
        };
        match found {
            Some((found, true)) => Looked::Fresh(found),
            Some((found, false)) => Looked::Stale(found, shared.stamps(tags)),
            None => Looked::Nothing(shared.stamps(tags)),
        }
    }

    /// What the bytes of an entry answer, and whether it is fresh.
    fn answer(&self, key: &Key, tags: &[Tag], bytes: &[u8]) -> Result<Option<(Found, bool)>, CacheFault> {
        let shared = &self.shared;
        let sealed = Sealed::find(bytes)?;
        if sealed.incarnation != shared.incarnation
            || !sealed.epochs().all(|(cell, epoch)| shared.epochs.of_cell(cell.into()) == epoch)
            || !tags.iter().all(|tag| sealed.epochs().any(|(cell, _)| usize::from(cell) == tag.cell()))
        {
            return Ok(None);
        }
        let (age, fresh) = match freshness(sealed.created_ms, sealed.fresh, sealed.stale, unix_ms()) {
            Freshness::Fresh(age) => (age, true),
            Freshness::Stale(age) => (age, false),
            Freshness::Over => return Ok(None),
        };
        let value = sealed.value(key, shared.entry_bytes)?;
        shared.count_success();
        Ok(Some((Found { value, age }, fresh)))
    }

    async fn lease_soon(&self, key: &Key) -> Lease {
        for _ in 0..UNSETTLED_STEPS {
            let now_ms = monotonic_ms();
            let end_ms = now_ms.saturating_add(self.lease_ms);
            match self.shared.leases.take(key.word(), std::process::id(), now_ms, end_ms) {
                Leased::Mine(fence) => return Lease::Mine(Token(fence.number())),
                Leased::Held { until_ms, fence } => {
                    let left = Duration::from_millis(until_ms.saturating_sub(now_ms));
                    return Lease::Held { left, holder: Token(fence.number()) };
                }
                Leased::Busy => return Lease::None,
                Leased::Unsettled => tokio::time::sleep(UNSETTLED_STEP).await,
            }
        }
        Lease::None
    }
}

impl Tier for Embedded {
    async fn look(&self, key: &Key, tags: &[Tag]) -> Looked {
        let began = Instant::now();
        let looked = self.look_now(key, tags);
        self.shared.metrics.operated(CacheOperation::Get, began.elapsed());
        looked
    }

    async fn lease(&self, key: &Key) -> Lease {
        let began = Instant::now();
        let lease = self.lease_soon(key).await;
        self.shared.metrics.operated(CacheOperation::Lease, began.elapsed());
        lease
    }

    async fn renew(&self, key: &Key, token: Token) -> bool {
        let end_ms = monotonic_ms().saturating_add(self.lease_ms);
        self.shared.leases.renew(key.word(), Fence::from_number(token.0), end_ms)
    }

    async fn release(&self, key: &Key, token: Token) {
        self.shared.leases.release(key.word(), Fence::from_number(token.0));
    }

    async fn store(&self, key: &Key, entry: Entry, token: Option<Token>) -> Result<(), CacheFault> {
        let began = Instant::now();
        let stored = match &self.writer {
            Some(writer) => writer.store(key, entry, token).await,
            None => Err(CacheFault::Unavailable),
        };
        self.shared.metrics.operated(CacheOperation::Put, began.elapsed());
        if let Err(fault) = stored {
            self.shared.metrics.failed(fault);
        }
        stored
    }

    async fn bump(&self, tags: &[Tag]) {
        let began = Instant::now();
        for tag in tags {
            self.shared.epochs.bump(tag.as_str());
        }
        self.shared.metrics.operated(CacheOperation::Bump, began.elapsed());
    }
}

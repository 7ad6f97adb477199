//! The one thread of a process that writes. LMDB lets one process of all write at a time and has no limit to the time the others
//! wait, so nobody but this thread ever waits there: when it does, jobs are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use task_mcp_scoreboard::Fence;
use task_mcp_telemetry::CacheFault;
use tokio::sync::oneshot;

use super::shared::Shared;
use crate::Key;
use crate::entry::{encode, over_ms, unix_ms};
use crate::tier::{Entry, Token};

/// Jobs that wait.
const MAX_JOBS: usize = 1024;
/// How long there must be no job before it is tried whether something can be stored again.
const PROBE: Duration = Duration::from_secs(1);

/// What the thread is to do.
#[derive(Debug)]
enum Work {
    Store { key: Key, entry: Entry, token: Option<Token> },
    Sweep,
    Remove(Vec<Key>),
}

#[derive(Debug)]
struct Job {
    work: Work,
    /// Bytes it keeps in memory while it waits.
    bytes: u64,
    done: oneshot::Sender<Result<u64, CacheFault>>,
}

/// The way to the thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: SyncSender<Job>,
    waiting_bytes: Arc<AtomicU64>,
    max_waiting_bytes: u64,
    budget: Duration,
    shared: Arc<Shared>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(shared: &Arc<Shared>, budget: Duration) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel(MAX_JOBS);
        let waiting_bytes = Arc::new(AtomicU64::new(0));
        let max_waiting_bytes = (shared.max_bytes() / 16).max(shared.entry_bytes);
        let (theirs, bytes) = (Arc::clone(shared), Arc::clone(&waiting_bytes));
        std::thread::Builder::new().name("cache-write".to_owned()).spawn(move || write(&theirs, &waiting, &bytes))?;
        Ok(Self { jobs, waiting_bytes, max_waiting_bytes, budget, shared: Arc::clone(shared) })
    }

    /// Stores an entry, unless a tag has moved on or the lease is another's.
    pub(super) async fn store(&self, key: &Key, entry: Entry, token: Option<Token>) -> Result<(), CacheFault> {
        let bytes = entry.value.len() as u64;
        self.ask(Work::Store { key: *key, entry, token }, bytes, self.budget).await.map(|_| ())
    }

    /// Removes what is over, in small steps; returns how much was removed in this one.
    pub(super) async fn sweep(&self, patience: Duration) -> Result<u64, CacheFault> {
        self.ask(Work::Sweep, 0, patience).await
    }

    /// Removes entries.
    pub(super) async fn remove(&self, keys: Vec<Key>, patience: Duration) -> Result<u64, CacheFault> {
        let bytes = size_of_val(keys.as_slice()) as u64;
        self.ask(Work::Remove(keys), bytes, patience).await
    }

    async fn ask(&self, work: Work, bytes: u64, patience: Duration) -> Result<u64, CacheFault> {
        let result = self.try_ask(work, bytes, patience).await;
        match result {
            Ok(_) => self.shared.standing.stored(),
            Err(fault) => {
                if let Some(reason) = lasting(fault) {
                    self.shared.standing.failed(reason);
                }
            }
        }
        result
    }

    async fn try_ask(&self, work: Work, bytes: u64, patience: Duration) -> Result<u64, CacheFault> {
        if self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel) > self.max_waiting_bytes {
            self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
            return Err(CacheFault::Queue);
        }
        let (done, wait) = oneshot::channel();
        if let Err(refused) = self.jobs.try_send(Job { work, bytes, done }) {
            self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
            return Err(match refused {
                TrySendError::Full(_) => CacheFault::Queue,
                TrySendError::Disconnected(_) => CacheFault::Unavailable,
            });
        }
        match tokio::time::timeout(patience, wait).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CacheFault::Unavailable),
            // The thread sees that nobody waits and leaves the job out.
            Err(_) => Err(CacheFault::Timeout),
        }
    }
}

/// What it means if nothing but this happens for a while; `None` if it says nothing about the tier.
fn lasting(fault: CacheFault) -> Option<&'static str> {
    match fault {
        CacheFault::Timeout => Some("the write lock was not to be had, or the disk not done, within cache.budget_ms"),
        CacheFault::Queue => Some("the queue is full: what is to be stored comes faster than it can be written"),
        CacheFault::Full => Some("there is no room, on the disk or below cache.max_bytes"),
        _ => None,
    }
}

fn write(shared: &Arc<Shared>, jobs: &Receiver<Job>, waiting_bytes: &AtomicU64) {
    // What found no room last.
    let mut refused_bytes = 0;
    loop {
        match jobs.recv_timeout(PROBE) {
            Ok(Job { work, bytes, done }) => {
                waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
                if !done.is_closed() {
                    let result = carry_out(shared, work);
                    refused_bytes = if result == Err(CacheFault::Full) { bytes } else { refused_bytes };
                    let _ = done.send(result);
                }
            }
            // Whoever only answers what is there would never see that it is over.
            Err(RecvTimeoutError::Timeout) if shared.standing.stores_nothing() => probe(shared, refused_bytes),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn probe(shared: &Arc<Shared>, bytes: u64) {
    let Some(file) = shared.file() else { return };
    let Some(file) = file.as_ref() else { return };
    let probed = file.probe(bytes).map_err(|error| shared.judge_write(file, &error));
    match probed.err() {
        None => shared.standing.stored(),
        Some(fault) => {
            if let Some(reason) = lasting(fault) {
                shared.standing.failed(reason);
            }
        }
    }
}

fn carry_out(shared: &Arc<Shared>, work: Work) -> Result<u64, CacheFault> {
    let file = shared.file().ok_or(CacheFault::Unavailable)?;
    let file = file.as_ref().ok_or(CacheFault::Unavailable)?;
    shared.look_at_name_now_and_then(file);
    let now_ms = unix_ms();
    let judged = |error: heed::Error| shared.judge_write(file, &error);
    match work {
        Work::Store { key, entry, token } => {
            let late = entry.stamps.incarnation != shared.incarnation
                || entry.stamps.epochs.iter().any(|(cell, epoch)| shared.epochs.of_cell((*cell).into()) != *epoch);
            if late {
                return Err(CacheFault::Late);
            }
            if token.is_some_and(|token| !shared.leases.is_mine(key.word(), Fence::from_number(token.0))) {
                return Err(CacheFault::Fenced);
            }
            let over = over_ms(entry.created_ms, entry.fresh, entry.stale);
            if entry.value.len() as u64 > shared.entry_bytes {
                return Err(CacheFault::TooLarge);
            }
            let bytes = encode(&key, &entry, shared.compress_bytes)?;
            let evicted = file.store(&key, &bytes, over, now_ms).map_err(judged)?;
            shared.count_write();
            shared.metrics.evicted.add(evicted);
            Ok(1)
        }
        Work::Sweep => {
            let removed = file.sweep(now_ms).map_err(judged)?;
            shared.metrics.evicted.add(removed);
            Ok(removed)
        }
        Work::Remove(keys) => file.remove(&keys).map_err(judged),
    }
}

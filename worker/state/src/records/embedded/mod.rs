//! Records in an LMDB environment that all processes of an instance map. A read is made on the spot and never waits for a writer;
//! writes are made by a thread of their own, many in one transaction, and answered when they are on disk.
//!
//! - `environment`: opens the files, once for each process
//! - `tables`: the two databases in them, and changes of these
//! - `writer`: the thread that writes

mod environment;
mod tables;
mod writer;

use std::path::Path;
use std::time::Duration;

use self::environment::Environment;
use self::writer::Writer;
use super::operation::{Write, Written};
use super::record::{Record, now_ms};
use crate::StateError;

/// The embedded records. Cloning is cheap and shares them.
#[derive(Debug, Clone)]
pub(crate) struct Embedded {
    environment: Environment,
    writer: Writer,
}

impl Embedded {
    /// Opens the records in `state_dir`, or makes them; at most `max_bytes` of them are kept.
    pub(crate) fn open(state_dir: &Path, max_bytes: u64) -> Result<Self, StateError> {
        let environment = Environment::open(state_dir, max_bytes)?;
        let writer = Writer::start(environment.clone()).map_err(StateError::Thread)?;
        Ok(Self { environment, writer })
    }

    pub(crate) fn get(&self, path: &[u8]) -> Result<Option<Record>, StateError> {
        Ok(self.environment.get(path)?.filter(|record| record.end_ms > now_ms()))
    }

    /// Records whose paths begin with `prefix`, after `after`, in the order of their paths.
    pub(crate) fn list(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Record)>, StateError> {
        self.environment.list(prefix, after, limit, now_ms())
    }

    pub(crate) async fn write(&self, write: Write, limit: Duration) -> Result<Written, StateError> {
        self.writer.write(write, limit).await
    }

    /// Removes some of the records that have ended: how many.
    pub(crate) async fn sweep(&self, limit: Duration) -> Result<usize, StateError> {
        self.writer.sweep(limit).await
    }

    /// Whether the files are still those that other processes find.
    pub(crate) fn in_place(&self) -> Result<(), StateError> {
        self.environment.in_place()
    }

    /// Gives back what dead processes held of the reader table.
    pub(crate) fn clear_stale_readers(&self) -> Result<usize, StateError> {
        self.environment.clear_stale_readers()
    }

    /// What a process does that is stopped within a write.
    #[cfg(test)]
    pub(crate) fn holds_the_lock(&self) -> heed::RwTxn<'_> {
        self.environment.env.write_txn().expect("a transaction")
    }
}

//! Records in the memory of one process, which end with it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::operation::{Table, Write, Written};
use super::record::{Record, now_ms};
use crate::StateError;

/// How much is kept, in bytes.
const BYTES_MAX: usize = 64 << 20;

/// Cloning is cheap and shares the records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    records: Arc<Mutex<Records>>,
}

#[derive(Debug, Default)]
struct Records {
    by_path: BTreeMap<Vec<u8>, Record>,
    bytes: usize,
}

impl Memory {
    pub(crate) fn get(&self, path: &[u8]) -> Option<Record> {
        self.lock().by_path.get(path).filter(|record| record.end_ms > now_ms()).cloned()
    }

    pub(crate) fn write(&self, write: &Write) -> Result<Written, StateError> {
        let mut records = self.lock();
        if write.bytes() > 0 && records.bytes + write.bytes() > BYTES_MAX {
            records.sweep();
        }
        if write.bytes() > 0 && records.bytes + write.bytes() > BYTES_MAX {
            return Err(StateError::Full { limit_bytes: BYTES_MAX as u64 });
        }
        match write.apply(&mut *records, now_ms()) {
            Ok(written) => Ok(written),
            Err(never) => match never {},
        }
    }

    /// Records whose paths begin with `prefix`, after `after`, in the order of their paths.
    pub(crate) fn list(&self, prefix: &[u8], after: &[u8], limit: usize) -> Vec<(Vec<u8>, Record)> {
        let now_ms = now_ms();
        let from = std::cmp::max(prefix, after);
        self.lock()
            .by_path
            .range(from.to_vec()..)
            .take_while(|(path, _)| path.starts_with(prefix))
            .filter(|(path, record)| path.as_slice() > after && record.end_ms > now_ms)
            .take(limit)
            .map(|(path, record)| (path.clone(), record.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn sweep(&mut self) {
        let now_ms = now_ms();
        self.by_path.retain(|_, record| record.end_ms > now_ms);
        self.bytes = self.by_path.iter().map(|(path, record)| path.len() + record.value.len()).sum();
    }
}

impl Table for Records {
    type Error = Infallible;

    fn get(&self, path: &[u8]) -> Result<Option<Record>, Infallible> {
        Ok(self.by_path.get(path).cloned())
    }

    fn put(&mut self, path: &[u8], record: &Record, before: Option<&Record>) -> Result<(), Infallible> {
        if let Some(before) = before {
            self.remove(path, before)?;
        }
        self.bytes += path.len() + record.value.len();
        self.by_path.insert(path.to_vec(), record.clone());
        Ok(())
    }

    fn remove(&mut self, path: &[u8], before: &Record) -> Result<(), Infallible> {
        self.bytes -= path.len() + before.value.len();
        self.by_path.remove(path);
        Ok(())
    }
}

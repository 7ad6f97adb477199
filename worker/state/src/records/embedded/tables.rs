//! The two databases: `records` by path, and `ends`, which has the path of each record behind its end, so that what has ended is
//! found without reading the rest.

use heed::types::{Bytes, Unit};
use heed::{CommitOrAbort, Database, Env, RoTxn, RwTxn, WithoutTls};

use super::environment::Environment;
use crate::StateError;
use crate::records::operation::Table;
use crate::records::record::Record;

/// Records removed in one step of the sweep.
pub(super) const SWEEP_STEP: usize = 256;

/// The databases of an environment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables {
    records: Database<'static, Bytes, Bytes>,
    ends: Database<'static, Bytes, Unit>,
}

impl Tables {
    /// How many databases there are.
    pub(super) const COUNT: u32 = 2;

    /// Opens them, or makes them: only that needs the writer's lock, which somebody may hold.
    pub(super) fn open(env: &Env<WithoutTls>) -> Result<Self, heed::Error> {
        let found = env.open_databases_and_commit(env.read_txn()?, |opener, txn| {
            let records = opener.open_database(txn, Some("records"))?;
            let ends = opener.open_database(txn, Some("ends"))?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((records, ends)))
        })?;
        if let CommitOrAbort::Commit((Some(records), Some(ends))) = found {
            return Ok(Self { records, ends });
        }
        let made = env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
            let records = opener.create_database(txn, Some("records"))?;
            let ends = opener.create_database(txn, Some("ends"))?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, heed::Error>::Commit((records, ends)))
        })?;
        match made {
            CommitOrAbort::Commit((records, ends)) => Ok(Self { records, ends }),
            CommitOrAbort::Abort(error) => Err(error),
        }
    }

    /// Reads every record, to find out whether that is possible.
    pub(super) fn read_all(&self, env: &Env<WithoutTls>) -> Result<(), heed::Error> {
        let txn = env.read_txn()?;
        self.records.iter(&txn)?.try_for_each(|record| record.map(drop))?;
        self.ends.iter(&txn)?.try_for_each(|end| end.map(drop))
    }

    /// What the records take, in bytes, without pages that are free.
    pub(super) fn bytes(&self, txn: &RoTxn<'_>) -> Result<u64, heed::Error> {
        let mut bytes = 0;
        for stat in [self.records.stat(txn)?, self.ends.stat(txn)?] {
            let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
            bytes += pages as u64 * u64::from(stat.page_size);
        }
        Ok(bytes)
    }

    /// Removes up to [`SWEEP_STEP`] records that have ended; how many.
    pub(super) fn sweep(&self, txn: &mut RwTxn<'_>, now_ms: u64) -> Result<usize, heed::Error> {
        let mut ended = Vec::new();
        for end in self.ends.iter(txn)?.take(SWEEP_STEP) {
            let (key, ()) = end?;
            match key.split_first_chunk() {
                Some((end_ms, path)) if u64::from_be_bytes(*end_ms) <= now_ms => {
                    ended.push((key.to_vec(), path.to_vec()))
                }
                Some(_) => break,
                None => ended.push((key.to_vec(), Vec::new())),
            }
        }
        for (key, path) in &ended {
            self.ends.delete(txn, key)?;
            if !path.is_empty() {
                self.records.delete(txn, path)?;
            }
        }
        Ok(ended.len())
    }
}

impl Environment {
    pub(super) fn get(&self, path: &[u8]) -> Result<Option<Record>, StateError> {
        let txn = self.env.read_txn().map_err(StateError::Embedded)?;
        let found = self.tables.records.get(&txn, path).map_err(StateError::Embedded)?;
        found.map(|bytes| Record::decode(bytes).map_err(StateError::Unreadable)).transpose()
    }

    pub(super) fn list(
        &self,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
        now_ms: u64,
    ) -> Result<Vec<(Vec<u8>, Record)>, StateError> {
        let txn = self.env.read_txn().map_err(StateError::Embedded)?;
        let from = (std::ops::Bound::Included(std::cmp::max(prefix, after)), std::ops::Bound::<&[u8]>::Unbounded);
        let mut found = Vec::new();
        for entry in self.tables.records.range(&txn, &from).map_err(StateError::Embedded)? {
            let (path, bytes) = entry.map_err(StateError::Embedded)?;
            if !path.starts_with(prefix) || found.len() >= limit {
                break;
            }
            let record = Record::decode(bytes).map_err(StateError::Unreadable)?;
            if path > after && record.end_ms > now_ms {
                found.push((path.to_vec(), record));
            }
        }
        Ok(found)
    }
}

/// The databases within a transaction that writes.
pub(super) struct Writing<'a, 'e> {
    pub(super) tables: Tables,
    pub(super) txn: &'a mut RwTxn<'e>,
}

impl Writing<'_, '_> {
    fn end_key(path: &[u8], record: &Record) -> Vec<u8> {
        [&record.end_ms.to_be_bytes(), path].concat()
    }
}

impl Table for Writing<'_, '_> {
    type Error = heed::Error;

    /// A record of another form is overwritten as if it had ended long ago.
    fn get(&self, path: &[u8]) -> Result<Option<Record>, heed::Error> {
        Ok(self.tables.records.get(self.txn, path)?.and_then(|bytes| Record::decode(bytes).ok()))
    }

    fn put(&mut self, path: &[u8], record: &Record, before: Option<&Record>) -> Result<(), heed::Error> {
        if let Some(before) = before {
            self.tables.ends.delete(self.txn, &Self::end_key(path, before))?;
        }
        self.tables.records.put(self.txn, path, &record.encode())?;
        self.tables.ends.put(self.txn, &Self::end_key(path, record), &())
    }

    fn remove(&mut self, path: &[u8], before: &Record) -> Result<(), heed::Error> {
        self.tables.ends.delete(self.txn, &Self::end_key(path, before))?;
        self.tables.records.delete(self.txn, path).map(drop)
    }
}

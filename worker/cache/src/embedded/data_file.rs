//! One LMDB file: entries by key, and the same keys by the time at which they are over.
//!
//! One database holds both, told apart by the first byte of a key:
//!
//! ```text
//! 0                                                    -> nothing; put to have something to commit
//! 1, key (32 bytes)                                    -> the entry (`entry`)
//! 2, over at (8 bytes, big endian, ms), key (32 bytes) -> nothing
//! ```

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{Database, Env, RoTxn, RwTxn, WithTls};

use super::directory::lock_of;
use super::{environment, room};
use crate::Key;
use crate::entry::Sealed;

const TURN: u8 = 0;
const ENTRY: u8 = 1;
const OVER: u8 = 2;
const KEY_BYTES: usize = 32;
const ENTRY_KEY_BYTES: usize = 1 + KEY_BYTES;
const OVER_KEY_BYTES: usize = 1 + 8 + KEY_BYTES;
/// Of the map, so much is left for the copies a transaction makes of what it changes: LMDB never writes in place.
const SLACK: u64 = 8;
/// Entries one transaction removes at most, so that it is short.
const MAX_REMOVED: usize = 512;
/// A file may be shorter than what it says of its last page: pages that a transaction adds and frees are never written. By so many
/// pages at most, and by half in a small file: what is shorter than that was truncated.
const MAX_UNWRITTEN_PAGES: u64 = 1024;

/// An open file.
#[derive(Debug)]
pub(super) struct DataFile {
    env: Env<WithTls>,
    database: Database<'static, Bytes, Bytes>,
    max_bytes: u64,
    path: PathBuf,
    /// Device and number of the file, whatever becomes of its name.
    identity: (u64, u64),
    /// Which of the files of this incarnation it is.
    pub(super) generation: u64,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// One entry, for people.
pub(super) struct Seen<'a> {
    pub(super) key: Key,
    pub(super) bytes: &'a [u8],
}

impl DataFile {
    pub(super) fn open(path: &Path, max_bytes: u64, generation: u64) -> Result<Self, heed::Error> {
        let page_bytes = rustix::param::page_size();
        let map_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX) / page_bytes * page_bytes;
        room::take(path, &lock_of(path))?;
        let (env, database) = environment::open(path, map_bytes)?;
        // In this order: what the head tells of was written before.
        let said_bytes = (env.info().last_page_number as u64 + 1).saturating_mul(page_bytes as u64);
        let found = env.try_clone_inner_file()?.metadata()?;
        if found.len() < said_bytes - (said_bytes / 2).min(MAX_UNWRITTEN_PAGES * page_bytes as u64) {
            return Err(heed::Error::Mdb(heed::MdbError::Corrupted));
        }
        Ok(Self { env, database, max_bytes, path: path.to_owned(), identity: identity(&found), generation })
    }

    /// Whether its name is still its own: if not, processes that start now open another file.
    ///
    /// # Errors
    /// The name cannot be looked up.
    pub(super) fn has_its_name(&self) -> io::Result<bool> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) => Ok(identity(&found) == self.identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What `with` makes of the bytes under a key, in place.
    pub(super) fn read<R>(&self, key: &Key, with: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, heed::Error> {
        let txn = self.env.read_txn()?;
        Ok(with(self.database.get(&txn, &entry_key(key))?))
    }

    /// Stores an entry that is over at `over_ms`. Makes room first if need be: what is over, then what is over next. Returns how
    /// many entries had to go.
    pub(super) fn store(&self, key: &Key, bytes: &[u8], over_ms: u64, now_ms: u64) -> Result<u64, heed::Error> {
        let mut removed = 0;
        let mut wanted = (bytes.len() as u64).max(self.max_bytes / SLACK);
        loop {
            match self.try_store(key, bytes, over_ms, now_ms) {
                // Large entries need pages in a row, which may be scattered, and a reader may keep old ones: make more room each
                // time, until there is nothing to be removed.
                Err(heed::Error::Mdb(heed::MdbError::MapFull)) if wanted <= self.max_bytes.saturating_mul(2) => {
                    removed += self.evict(wanted, now_ms)?;
                    wanted = wanted.saturating_mul(2);
                }
                stored => return stored.map(|more| removed + more),
            }
        }
    }

    fn evict(&self, wanted: u64, now_ms: u64) -> Result<u64, heed::Error> {
        let mut txn = self.env.write_txn()?;
        let removed = self.make_room(&mut txn, wanted, now_ms)?;
        txn.commit()?;
        // Pages that one transaction frees can be used from the second after it.
        let mut txn = self.env.write_txn()?;
        self.database.put(&mut txn, &[TURN], &[])?;
        txn.commit()?;
        Ok(removed)
    }

    /// Runs `with` in the middle of a transaction that writes, and commits nothing.
    #[cfg(test)]
    pub(super) fn while_writing(&self, with: impl FnOnce()) {
        let mut txn = self.env.write_txn().unwrap();
        self.database.put(&mut txn, &[ENTRY], b"unfinished").unwrap();
        with();
        txn.abort();
    }

    fn try_store(&self, key: &Key, bytes: &[u8], over_ms: u64, now_ms: u64) -> Result<u64, heed::Error> {
        let mut txn = self.env.write_txn()?;
        self.remove_in(&mut txn, key)?;
        let limit = self.max_bytes - self.max_bytes / SLACK;
        let excess = (self.used(&txn)? + bytes.len() as u64).saturating_sub(limit);
        let removed = if excess > 0 { self.make_room(&mut txn, excess, now_ms)? } else { 0 };
        self.database.put(&mut txn, &entry_key(key), bytes)?;
        self.database.put(&mut txn, &over_key(over_ms, key), &[])?;
        txn.commit()?;
        Ok(removed)
    }

    /// Stores `bytes` bytes, or a sixteenth of what it may hold, that are no entry, and removes them.
    pub(super) fn probe(&self, bytes: u64) -> Result<(), heed::Error> {
        let bytes = usize::try_from(bytes.min(self.max_bytes / 16)).unwrap_or_default();
        for content in [vec![0; bytes], Vec::new()] {
            let mut txn = self.env.write_txn()?;
            self.database.put(&mut txn, &[TURN], &content)?;
            txn.commit()?;
        }
        Ok(())
    }

    /// Removes what is over, at most a small number; returns how many entries it were.
    pub(super) fn sweep(&self, now_ms: u64) -> Result<u64, heed::Error> {
        let mut txn = self.env.write_txn()?;
        let removed = self.make_room(&mut txn, 0, now_ms)?;
        txn.commit()?;
        Ok(removed)
    }

    /// Removes entries; returns how many of them were there.
    pub(super) fn remove(&self, keys: &[Key]) -> Result<u64, heed::Error> {
        let mut txn = self.env.write_txn()?;
        let mut removed = 0;
        for key in keys {
            removed += u64::from(self.remove_in(&mut txn, key)?);
        }
        txn.commit()?;
        Ok(removed)
    }

    /// Shows `with` at most `count` entries whose keys come after `after`; returns the last key, `None` at the end.
    pub(super) fn scan(
        &self,
        after: Option<&Key>,
        count: usize,
        mut with: impl FnMut(Seen<'_>),
    ) -> Result<Option<Key>, heed::Error> {
        use std::ops::Bound;
        let txn = self.env.read_txn()?;
        let from = after.map(entry_key);
        let from = from.as_ref().map_or(Bound::Included(&[ENTRY][..]), |after| Bound::Excluded(&after[..]));
        let mut last = None;
        for found in self.database.range(&txn, &(from, Bound::Excluded(&[OVER][..])))?.take(count) {
            let (name, bytes) = found?;
            let Some(key) = name.get(1..).and_then(Key::from_slice) else { continue };
            last = Some(key);
            with(Seen { key, bytes });
        }
        Ok(last)
    }

    /// What it holds.
    pub(super) fn usage(&self) -> Result<Usage, heed::Error> {
        let txn = self.env.read_txn()?;
        Ok(Usage { entries: self.database.len(&txn)? / 2, bytes: self.used(&txn)? })
    }

    /// Frees the places of readers that have died; returns how many there were.
    pub(super) fn forget_dead_readers(&self) -> Result<usize, heed::Error> {
        self.env.clear_stale_readers()
    }

    /// Removes what is over, and what is over next until `wanted` bytes are free.
    fn make_room(&self, txn: &mut RwTxn<'_>, wanted: u64, now_ms: u64) -> Result<u64, heed::Error> {
        let (mut victims, mut freed) = (Vec::new(), 0);
        for found in self.database.prefix_iter(txn, &[OVER])?.take(MAX_REMOVED) {
            let (name, _) = found?;
            let Some((over_ms, key)) = split_over_key(name) else { continue };
            if over_ms > now_ms && freed >= wanted {
                break;
            }
            let bytes = self.database.get(txn, &entry_key(&key))?.map_or(0, <[u8]>::len);
            freed += bytes as u64;
            victims.push((over_key(over_ms, &key), key));
        }
        for (name, key) in &victims {
            self.database.delete(txn, name)?;
            self.database.delete(txn, &entry_key(key))?;
        }
        Ok(victims.len() as u64)
    }

    fn remove_in(&self, txn: &mut RwTxn<'_>, key: &Key) -> Result<bool, heed::Error> {
        let Some(bytes) = self.database.get(txn, &entry_key(key))? else { return Ok(false) };
        let over_ms = Sealed::find(bytes).ok().map(|sealed| sealed.over_ms());
        if let Some(over_ms) = over_ms {
            self.database.delete(txn, &over_key(over_ms, key))?;
        }
        self.database.delete(txn, &entry_key(key))
    }

    fn used(&self, txn: &RoTxn<'_>) -> Result<u64, heed::Error> {
        let stat = self.database.stat(txn)?;
        Ok((stat.branch_pages + stat.leaf_pages + stat.overflow_pages) as u64 * u64::from(stat.page_size))
    }
}

fn entry_key(key: &Key) -> [u8; ENTRY_KEY_BYTES] {
    let mut name = [ENTRY; ENTRY_KEY_BYTES];
    if let Some(place) = name.last_chunk_mut::<KEY_BYTES>() {
        *place = *key.as_bytes();
    }
    name
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn over_key(over_ms: u64, key: &Key) -> [u8; OVER_KEY_BYTES] {
    let mut name = [OVER; OVER_KEY_BYTES];
    if let Some(place) = name.last_chunk_mut::<KEY_BYTES>() {
        *place = *key.as_bytes();
    }
    if let Some(place) = name.get_mut(1..9) {
        place.copy_from_slice(&over_ms.to_be_bytes());
    }
    name
}

fn split_over_key(name: &[u8]) -> Option<(u64, Key)> {
    let (over_ms, key) = name.get(1..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*over_ms), Key::from_slice(key)?))
}

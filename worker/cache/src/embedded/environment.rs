//! Opens LMDB files; the only file of this crate with `unsafe`.
#![allow(unsafe_code)]

use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, WithTls};

/// An open file and its one database.
pub(super) type Opened = (Env<WithTls>, Database<'static, Bytes, Bytes>);

/// Readers of all processes: each thread that reads takes one place until it ends.
pub(super) const MAX_READERS: u32 = 4096;

/// Opens the file at `path`, a new one if there is none, that grows to no more than `map_bytes` (whole pages).
///
/// It is never synchronised with its disk: it does not outlive its instance. It is not written through the map, for on a full disk
/// that is a signal (SIGBUS) instead of an error. Readers keep their place for the life of their thread, so that all reads of a
/// thread but its first take no lock.
pub(super) fn open(path: &Path, map_bytes: usize) -> Result<Opened, heed::Error> {
    let mut options = EnvOpenOptions::new();
    options.map_size(map_bytes).max_readers(MAX_READERS);
    // SAFETY: the flags do not weaken what the map relies on: NO_SYNC and NO_META_SYNC lose data only when the system dies, after
    // which no instance has this file's name any more. NO_LOCK and WRITE_MAP, which would, are not among them.
    unsafe {
        options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC | EnvFlags::NO_READ_AHEAD)
    };
    // SAFETY: the bytes of the map must not change but through LMDB. The file lies in a directory that only this user may enter,
    // under a name that only processes of this instance use; they change it through LMDB only, never truncate it, and remove it
    // only by name, which leaves the mapping of whoever has it open.
    let env = unsafe { options.open(path)? };
    let database = env
        .open_databases_and_commit(env.read_txn()?, |opener, txn| {
            let database = opener.open_database::<Bytes, Bytes>(txn, None)?;
            Ok::<_, heed::Error>(database.map_or(heed::CommitOrAbort::Abort(()), heed::CommitOrAbort::Commit))
        })?
        .commit();
    database.map(|database| (env, database)).ok_or(heed::Error::Mdb(heed::MdbError::NotFound))
}

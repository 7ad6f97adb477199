//! The files of the embedded records: opened, checked, and set aside if they are damaged.
//!
//! `<state_dir>/records/` holds `data.mdb` and `lock.mdb` (LMDB's own), `open.lock`, which is locked while a process opens them, and
//! `users.lock`, on which every process that has them open holds a shared lock. Who could lock that one alone may set damaged
//! files aside: nobody else maps them.
#![allow(unsafe_code)]

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heed::{Env, EnvOpenOptions, MdbError, WithoutTls};

use super::tables::Tables;
use crate::StateError;
use crate::records::record::now_ms;

/// Most processes and threads that read at the same time: two generations of the most workers there can be, and their writers.
const READERS_MAX: u32 = 2_048;
/// Sizes of maps are multiples of the largest page of any system.
const MAP_UNIT: u64 = 64 << 10;
/// Room beyond what records may take, so that removing some is possible when they are full: a share, and no less than this.
const SPARE_BYTES: u64 = 4 << 20;
const SPARE_SHARE: u64 = 8;

/// The environment, open. Cloning is cheap and shares it.
#[derive(Debug, Clone)]
pub(super) struct Environment {
    pub(super) env: Env<WithoutTls>,
    pub(super) tables: Tables,
    pub(super) max_bytes: u64,
    /// The file of the data, by device and inode, and where it was opened.
    opened: (u64, u64),
    folder: Arc<Path>,
    /// Shared lock on `users.lock`, given back when the process ends.
    _user: Arc<File>,
}

impl Environment {
    pub(super) fn open(state_dir: &Path, max_bytes: u64) -> Result<Self, StateError> {
        let folder = state_dir.join("records");
        let failed = |source| StateError::Directory { path: folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        let opening = lock_file(&folder.join("open.lock")).map_err(failed)?;
        opening.lock().map_err(failed)?;
        let user = lock_file(&folder.join("users.lock")).map_err(failed)?;
        let alone = match user.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        };
        let opened = match open(&folder, max_bytes, alone) {
            Err(error) if alone && is_damage(&error) => {
                let aside = set_aside(&folder).map_err(failed)?;
                tracing::error!(
                    error = %error, kept = %aside.display(),
                    "The embedded state is damaged. It is set aside and begins empty: clients may find promises broken."
                );
                open(&folder, max_bytes, alone)
            }
            opened => opened,
        };
        let (env, tables) = opened.map_err(|source| StateError::Open { path: folder.clone(), source })?;
        // From exclusive to shared; meanwhile `open.lock` keeps others from looking.
        user.lock_shared().map_err(failed)?;
        let opened = identity(&folder).map_err(failed)?;
        let environment =
            Self { env, tables, max_bytes, opened, folder: folder.as_path().into(), _user: Arc::new(user) };
        environment.clear_stale_readers()?;
        Ok(environment)
    }

    /// Whether the data is still where other processes look for it.
    pub(super) fn in_place(&self) -> Result<(), StateError> {
        match identity(&self.folder) {
            Ok(now) if now == self.opened => Ok(()),
            Ok(_) => Err(StateError::Replaced { path: self.folder.to_path_buf() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StateError::Replaced { path: self.folder.to_path_buf() })
            }
            Err(source) => Err(StateError::Directory { path: self.folder.to_path_buf(), source }),
        }
    }

    pub(super) fn clear_stale_readers(&self) -> Result<usize, StateError> {
        self.env.clear_stale_readers().map_err(StateError::Embedded)
    }
}

/// Device and inode of the data.
fn identity(folder: &Path) -> io::Result<(u64, u64)> {
    let data = fs::metadata(folder.join(DATA))?;
    Ok((data.dev(), data.ino()))
}

/// A file to lock, that no other user may open.
fn lock_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn open(folder: &Path, max_bytes: u64, alone: bool) -> Result<(Env<WithoutTls>, Tables), heed::Error> {
    let spare = (max_bytes / SPARE_SHARE).max(SPARE_BYTES);
    let map = max_bytes.saturating_add(spare).next_multiple_of(MAP_UNIT);
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(usize::try_from(map).unwrap_or(usize::MAX)).max_readers(READERS_MAX).max_dbs(Tables::COUNT);
    // SAFETY: the map is undefined if somebody changes the file otherwise than through LMDB. It lies in a directory that only
    // this user may enter and one instance has locked; all its processes lock by LMDB's own lock file, no unsafe flag is given,
    // and damaged files are moved only by a process that nobody shares them with.
    let env = unsafe { options.open(folder) }?;
    let damaged = alone && fill_up(&env, folder)?;
    let tables = Tables::open(&env)?;
    if damaged {
        tables.read_all(&env)?;
    }
    File::open(folder).and_then(|folder| folder.sync_all())?;
    Ok((env, tables))
}

/// A file that lost its end would end a process that reads there (SIGBUS, mmap(2)): it gets zeros instead, which LMDB tells from
/// data. Whether it was too short.
fn fill_up(env: &Env<WithoutTls>, folder: &Path) -> Result<bool, heed::Error> {
    let page_bytes = u64::from(env.unnamed_database_stat().page_size);
    let wanted = (env.info().last_page_number as u64 + 1) * page_bytes;
    let file = File::options().write(true).open(folder.join(DATA))?;
    let is_short = file.metadata()?.len() < wanted;
    if is_short {
        file.set_len(wanted)?;
    }
    Ok(is_short)
}

const DATA: &str = "data.mdb";

/// Whether the files hold no records that could be read. Those of another version of LMDB are not damaged.
fn is_damage(error: &heed::Error) -> bool {
    matches!(error, heed::Error::Mdb(MdbError::Invalid | MdbError::Corrupted | MdbError::PageNotFound))
}

/// Moves the files out of the way; where the data is now.
fn set_aside(folder: &Path) -> io::Result<PathBuf> {
    let aside = folder.join(format!("{DATA}.damaged-{}", now_ms()));
    fs::rename(folder.join(DATA), &aside)?;
    match fs::remove_file(folder.join("lock.mdb")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(aside),
    }
}

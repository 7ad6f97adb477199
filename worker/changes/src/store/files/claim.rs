//! The CLI's archive lock: when one that was left behind may be removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Core;
use crate::archive::LOCK_FILE;
use crate::error::ChangesError;
use crate::tree::{Reader, remove_if_there};

/// What the lock says.
#[derive(Deserialize)]
struct Claim {
    pid: i32,
    #[serde(default)]
    nonce: String,
}

impl Core {
    /// Removes the lock if the archive of this nonce took it.
    pub(super) fn release_archive_lock(&self, nonce: &str) -> io::Result<()> {
        let path = self.archive_lock();
        match read(&path) {
            Some(claim) if claim.nonce == nonce => remove_if_there(&path),
            _ => Ok(()),
        }
    }

    /// Removes a lock whose process is gone: dead on this machine, and the lock older than a minute, since an archive
    /// takes milliseconds and a process of another container only looks dead.
    pub(super) fn reclaim_archive_lock(&self) -> Result<(), ChangesError> {
        const AGE_S: u64 = 60;
        let path = self.archive_lock();
        let Some(pid) = read(&path).map(|claim| claim.pid).filter(|pid| *pid > 0) else { return Ok(()) };
        let dead = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH);
        let modified = fs::symlink_metadata(&path).and_then(|meta| meta.modified()).ok();
        let old = modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age.as_secs() >= AGE_S);
        if dead && old {
            tracing::warn!(pid, "A stale archive lock of a dead process is removed.");
            remove_if_there(&path).map_err(ChangesError::io("removing a stale archive lock"))?;
        }
        Ok(())
    }

    fn archive_lock(&self) -> PathBuf {
        self.tree.archive().join(LOCK_FILE)
    }
}

/// Reads a plain file of a lock's size; a pipe of that name keeps nobody waiting.
fn read(path: &Path) -> Option<Claim> {
    const LIMIT_BYTES: u64 = 4096;
    serde_json::from_str(&Reader::tools(LIMIT_BYTES).read(path).ok()?).ok()
}

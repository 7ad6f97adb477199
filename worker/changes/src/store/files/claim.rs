//! The CLI's archive lock: when one that was left behind may be removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

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
        let path = self.archive_lock();
        if fs::symlink_metadata(&path).is_err() {
            self.claim_logged.store(false, Ordering::Relaxed);
        }
        let Some(pid) = read(&path).map(|claim| claim.pid).filter(|pid| *pid > 0) else { return Ok(()) };
        let dead = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH);
        if dead && is_old(&path) {
            tracing::warn!(pid, "A stale archive lock of a dead process is removed.");
            remove_if_there(&path).map_err(ChangesError::io("removing a stale archive lock"))?;
        }
        Ok(())
    }

    /// The refusal where the lock is held. One that looks left behind is logged, once.
    pub(super) fn claimed(&self) -> ChangesError {
        let path = self.archive_lock();
        let shown = self.tree.relative(&path);
        if (read(&path).is_none() || is_old(&path)) && !self.claim_logged.swap(true, Ordering::Relaxed) {
            tracing::error!(
                path = shown,
                "The archive lock looks left behind, but its process cannot be told to be dead; while it is there, \
                 nothing is archived. If no archive runs, delete it."
            );
        }
        ChangesError::Busy {
            message: format!("another archive holds {shown}"),
            fix: Some(format!("Try again in a moment. If no archive is running, delete {shown}.")),
            path: Some(shown),
        }
    }

    fn archive_lock(&self) -> PathBuf {
        self.tree.archive().join(LOCK_FILE)
    }
}

/// Whether it is older than any archive takes. A time in the future is no age; it must not make a lock immortal.
fn is_old(path: &Path) -> bool {
    const AGE: Duration = Duration::from_secs(60);
    let modified = fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok();
    modified.is_some_and(|at| at.elapsed().unwrap_or_else(|future| future.duration()) >= AGE)
}

/// Reads a plain file of a lock's size; a pipe of that name keeps nobody waiting.
fn read(path: &Path) -> Option<Claim> {
    const LIMIT_BYTES: u64 = 4096;
    serde_json::from_str(&Reader::tools(LIMIT_BYTES).read(path).ok()?).ok()
}

//! Writers of one machine one after another, and the epoch moved on behind each.

use std::fs::File;

use nix::fcntl::{Flock, FlockArg};

use super::Core;
use crate::error::ChangesError;
use crate::ports::EpochSource;

/// The right to write. Dropping it moves the epoch on, whatever became of the write, and lets the next writer in.
pub(super) struct WriteGuard<'a> {
    epochs: &'a dyn EpochSource,
    /// `flock` on `openspec/` itself: it creates no file, and a killed process lets go of it.
    _held: Flock<File>,
}

impl Core {
    /// Waits for the writers before, then finishes or undoes what a killed one left.
    pub(super) fn begin_write(&self) -> Result<WriteGuard<'_>, ChangesError> {
        let held = self.flock(FlockArg::LockExclusive)?;
        let guard = WriteGuard { epochs: self.epochs.as_ref(), _held: held };
        self.recover()?;
        Ok(guard)
    }

    /// Recovers at start, unless a live writer is at work: then there is nothing to recover yet.
    pub(super) fn recover_if_idle(&self) -> Result<(), ChangesError> {
        if !self.has_journal() {
            return Ok(());
        }
        match self.flock(FlockArg::LockExclusiveNonblock) {
            Ok(_held) => {
                let recovered = self.recover();
                self.epochs.bump();
                recovered
            }
            Err(_) => Ok(()),
        }
    }

    fn flock(&self, how: FlockArg) -> Result<Flock<File>, ChangesError> {
        let step = ChangesError::io("locking the tree");
        let dir = File::open(self.tree.openspec()).map_err(&step)?;
        Flock::lock(dir, how).map_err(|(_, errno)| step(errno.into()))
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        self.epochs.bump();
    }
}

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
        self.contained()?;
        let held = self.flock(FlockArg::LockExclusive)?;
        let guard = WriteGuard { epochs: self.epochs.as_ref(), _held: held };
        self.settle()?;
        Ok(guard)
    }

    /// Recovers at start, unless a live writer is at work: then there is nothing to recover yet.
    /// What cannot be settled keeps nobody from reading; the next writer tries again and says so.
    pub(super) fn recover_if_idle(&self) {
        if !self.has_journal() && !self.has_litter() {
            return;
        }
        let Ok(_held) = self.flock(FlockArg::LockExclusiveNonblock) else { return };
        if let Err(error) = self.settle() {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "What a dead writer left could not be settled; writing is refused until it is.");
        }
        self.epochs.bump();
    }

    fn settle(&self) -> Result<(), ChangesError> {
        self.private_dir("tmp")?;
        self.sweep_scratch();
        self.recover()
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

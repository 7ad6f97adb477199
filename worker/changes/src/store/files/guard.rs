//! Writers of one machine one after another, and the epoch moved on behind each.

use std::io;
use std::time::Duration;

use super::Core;
use crate::error::ChangesError;
use crate::ports::EpochSource;
use crate::tree::{PATIENCE, Turn};

/// The right to write. Dropping it moves the epoch on, whatever became of the write, and lets the next writer in.
pub(super) struct WriteGuard<'a> {
    epochs: &'a dyn EpochSource,
    _turn: Turn,
}

impl Core {
    /// Waits a little for the writers before, then finishes or undoes what a killed one left.
    pub(super) fn begin_write(&self) -> Result<WriteGuard<'_>, ChangesError> {
        self.contained()?;
        let turn = self.tree.turn(PATIENCE).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => ChangesError::Busy {
                message: "another writer holds openspec/".to_owned(),
                path: Some("openspec".to_owned()),
                fix: Some(
                    "Try again in a moment. If it goes on, look for a stopped process that has openspec/ open."
                        .to_owned(),
                ),
            },
            _ => ChangesError::io("locking the tree")(error),
        })?;
        let guard = WriteGuard { epochs: self.epochs.as_ref(), _turn: turn };
        self.settle()?;
        Ok(guard)
    }

    /// Recovers at start, unless a live writer is at work: then there is nothing to recover yet.
    /// What cannot be settled keeps nobody from reading; the next writer tries again and says so.
    pub(super) fn recover_if_idle(&self) {
        if !self.has_journal() && !self.has_litter() {
            return;
        }
        let Ok(_turn) = self.tree.turn(Duration::ZERO) else { return };
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
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        self.epochs.bump();
    }
}

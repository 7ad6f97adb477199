//! The part of an archive that writes: specs first, the folder last, everything undone on failure.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Failure, SpecUpdate};
use crate::tree::{Tree, remove_empty_dirs, replace_file};

/// The CLI's own lock below `changes/archive/`.
pub(crate) const LOCK_FILE: &str = ".openspec-archive.lock";

/// An archive ready to be carried out.
pub(crate) struct Commit<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) name: &'a str,
    /// The folder name below `changes/archive/`.
    pub(crate) archived: &'a str,
    pub(crate) updates: &'a [SpecUpdate],
}

impl Commit<'_> {
    /// Takes the lock, writes the specs, calls `before_move`, moves the folder.
    pub(crate) fn run(&self, before_move: impl FnOnce() -> io::Result<()>) -> Result<(), Failure> {
        let _lock = Lock::take(self.tree, self.archived)?;
        let mut undo = Undo { specs: self.tree.specs(), steps: Vec::new() };
        let done = self.write(&mut undo, before_move);
        if done.is_err() {
            undo.roll_back();
        }
        done
    }

    fn write(&self, undo: &mut Undo, before_move: impl FnOnce() -> io::Result<()>) -> Result<(), Failure> {
        for update in self.updates.iter().filter(|update| update.changes_file()) {
            undo.note(&update.path)?;
            if update.retire {
                fs::remove_file(&update.path)?;
                continue;
            }
            if let Some(dir) = update.path.parent() {
                fs::create_dir_all(dir)?;
            }
            replace_file(&update.path, update.merged.text.as_bytes())?;
        }
        before_move()?;
        let (from, to) = (self.tree.change(self.name), self.tree.archive().join(self.archived));
        fs::rename(&from, &to).map_err(|error| {
            let call = format!("rename '{}' -> '{}'", from.display(), to.display());
            Failure::system(error, &call)
        })?;
        for update in self.updates.iter().filter(|update| update.retire) {
            if let Some(dir) = update.path.parent() {
                remove_empty_dirs(dir, &self.tree.specs());
            }
        }
        Ok(())
    }
}

/// What each written spec was before.
struct Undo {
    specs: PathBuf,
    steps: Vec<(PathBuf, Option<Vec<u8>>)>,
}

impl Undo {
    fn note(&mut self, path: &Path) -> io::Result<()> {
        let before = match fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        self.steps.push((path.to_owned(), before));
        Ok(())
    }

    fn roll_back(&self) {
        for (path, before) in self.steps.iter().rev() {
            let undone = match before {
                Some(bytes) => replace_file(path, bytes),
                None => match fs::remove_file(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    other => other,
                },
            };
            if let (None, Some(dir)) = (before, path.parent()) {
                remove_empty_dirs(dir, &self.specs);
            }
            if let Err(error) = undone {
                tracing::error!(path = %path.display(), %error, "A spec could not be put back after a failed archive.");
            }
        }
    }
}

/// The lock, removed on drop.
struct Lock(PathBuf);

impl Lock {
    fn take(tree: &Tree, archived: &str) -> Result<Self, Failure> {
        let path = tree.archive().join(LOCK_FILE);
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let message = format!(
                    "Archive '{archived}' is already being created. If no archive process is running, remove the stale \
                     claim at {} and rerun.",
                    path.display()
                );
                return Err(Failure::new("archive_target_exists", message).busy());
            }
            Err(error) => return Err(error.into()),
        };
        let lock = Self(path);
        let claim = serde_json::json!({ "pid": std::process::id(), "nonce": uuid::Uuid::now_v7().to_string() });
        file.write_all(claim.to_string().as_bytes())?;
        Ok(lock)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::error!(path = %self.0.display(), %error, "The archive lock could not be removed.");
        }
    }
}

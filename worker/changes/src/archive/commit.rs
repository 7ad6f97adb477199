//! The part of an archive that writes: specs first, the folder last, everything undone on failure.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Failure, SpecUpdate};
use crate::tree::{Tree, remove_empty_dirs, remove_if_there};

/// The CLI's own lock below `changes/archive/`.
pub(crate) const LOCK_FILE: &str = ".openspec-archive.lock";

/// An archive ready to be carried out.
pub(crate) struct Commit<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) name: &'a str,
    /// The folder name below `changes/archive/`.
    pub(crate) archived: &'a str,
    pub(crate) updates: &'a [SpecUpdate],
    /// A file put into the change before it moves: path and content.
    pub(crate) receipt: Option<(&'a Path, &'a [u8])>,
    /// Stands in the lock, so that recovery can tell whose it is.
    pub(crate) nonce: &'a str,
}

impl Commit<'_> {
    /// Takes the lock, writes the specs and the receipt, moves the folder. A failure whose writes could not all be taken
    /// back is marked `torn`.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let _lock = Lock::take(self.tree, self.archived, self.nonce)?;
        let mut undo = Undo { tree: self.tree, steps: Vec::new() };
        self.write(&mut undo).map_err(|mut failure| {
            failure.more.torn = !undo.roll_back();
            failure
        })
    }

    fn write(&self, undo: &mut Undo<'_>) -> Result<(), Failure> {
        for update in self.updates.iter().filter(|update| update.changes_file()) {
            undo.note(&update.path)?;
            if update.retire {
                fs::remove_file(&update.path)?;
                continue;
            }
            if let Some(dir) = update.path.parent() {
                fs::create_dir_all(dir)?;
            }
            self.tree.replace_file(&update.path, update.merged.text.as_bytes())?;
        }
        if let Some((path, text)) = self.receipt {
            undo.note(path)?;
            self.tree.replace_file(path, text)?;
        }
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

/// What each written file was before.
struct Undo<'a> {
    tree: &'a Tree,
    steps: Vec<(PathBuf, Option<Vec<u8>>)>,
}

impl Undo<'_> {
    fn note(&mut self, path: &Path) -> io::Result<()> {
        let before = match fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        self.steps.push((path.to_owned(), before));
        Ok(())
    }

    /// Whether everything is as it was.
    fn roll_back(&self) -> bool {
        let mut whole = true;
        for (path, before) in self.steps.iter().rev() {
            let undone = match before {
                Some(bytes) => self.tree.replace_file(path, bytes),
                None => remove_if_there(path),
            };
            if let (None, Some(dir)) = (before, path.parent()) {
                remove_empty_dirs(dir, &self.tree.specs());
            }
            if let Err(error) = undone {
                whole = false;
                tracing::error!(path = %path.display(), %error, "A file could not be put back after a failed archive.");
            }
        }
        whole
    }
}

/// The lock, removed on drop.
struct Lock(PathBuf);

impl Lock {
    fn take(tree: &Tree, archived: &str, nonce: &str) -> Result<Self, Failure> {
        let path = tree.archive().join(LOCK_FILE);
        // Whole from the first moment on: a lock without a process in it could never be told from a live one.
        let claim = serde_json::json!({ "pid": std::process::id(), "nonce": nonce });
        match tree.create_file(&path, claim.to_string().as_bytes()) {
            Ok(()) => Ok(Self(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let message = format!(
                    "Archive '{archived}' is already being created. If no archive process is running, remove the stale \
                     claim at {} and rerun.",
                    path.display()
                );
                Err(Failure::new("archive_target_exists", message).busy())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::error!(path = %self.0.display(), %error, "The archive lock could not be removed.");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use crate::tree::Reader;

    #[test]
    fn a_roll_back_that_fails_says_so_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path(), Reader::tools(1024));
        let (gone, there) = (dir.path().join("gone/spec.md"), dir.path().join("spec.md"));
        let steps = vec![(there.clone(), Some(b"before".to_vec())), (gone, Some(b"before".to_vec()))];
        assert!(!Undo { tree: &tree, steps }.roll_back());
        assert_eq!(fs::read(&there).unwrap(), b"before");
        assert!(Undo { tree: &tree, steps: vec![(there, Some(b"older".to_vec()))] }.roll_back());
    }
}

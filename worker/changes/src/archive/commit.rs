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
        let changing = || self.updates.iter().filter(|update| update.changes_file());
        // All of them first, so that nothing is written if one has changed.
        for update in changing() {
            read_unchanged(update)?;
        }
        for update in changing() {
            undo.steps.push((update.path.clone(), read_unchanged(update)?));
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
            undo.steps.push((path.to_owned(), read(path)?));
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

/// The main spec as it is, refused if it is not what was merged into: somebody else wrote it since, by hand or with a
/// program that does not wait for its turn.
fn read_unchanged(update: &SpecUpdate) -> Result<Option<Vec<u8>>, Failure> {
    let now = read(&update.path)?;
    // The command reads leniently, so its text is compared as it was read.
    if now.as_deref().map(String::from_utf8_lossy).as_deref() != update.before.as_deref() {
        return Err(Failure::changed(&update.capability, &update.path));
    }
    Ok(now)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What each written file was before.
struct Undo<'a> {
    tree: &'a Tree,
    steps: Vec<(PathBuf, Option<Vec<u8>>)>,
}

impl Undo<'_> {
    /// Whether everything is as it was.
    fn roll_back(&self) -> bool {
        let mut whole = true;
        for (path, before) in self.steps.iter().rev() {
            let undone = match before {
                // The write that failed: on a full disk the old text could not be written again.
                _ if read(path).is_ok_and(|now| now == *before) => Ok(()),
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
                Err(Failure::new("archive_target_exists", message).claimed())
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

    #[test]
    fn what_is_as_it_was_is_not_written_again() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path(), Reader::tools(1024));
        let path = dir.path().join("spec.md");
        fs::write(&path, "before").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        assert!(Undo { tree: &tree, steps: vec![(path.clone(), Some(b"before".to_vec()))] }.roll_back());
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    }
}

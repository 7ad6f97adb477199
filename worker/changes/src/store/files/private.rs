//! Our own folder, `openspec/.task-mcp`, and the folders of the tree we work in. What a tree brings along is not trusted:
//! any of them may be a link that somebody committed.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::Core;
use crate::error::ChangesError;
use crate::tree::is_temporary;

impl Core {
    /// Refuses a tree one of whose folders leads out of the root.
    pub(super) fn contained(&self) -> Result<(), ChangesError> {
        let tree = &self.tree;
        for dir in [tree.openspec(), tree.changes(), tree.archive(), tree.specs()] {
            if !tree.contains(&dir) {
                return Err(self.escape(&dir));
            }
        }
        Ok(())
    }

    /// A folder below our private one, made if it is missing; version control is told to ignore it. The caller holds the
    /// write guard.
    pub(super) fn private_dir(&self, name: &str) -> Result<PathBuf, ChangesError> {
        let base = self.tree.private();
        self.make_dir(&base)?;
        let ignore = base.join(".gitignore");
        match fs::symlink_metadata(&ignore) {
            Ok(meta) if meta.is_symlink() => return Err(self.escape(&ignore)),
            Ok(_) => {}
            Err(_) => {
                let step = ChangesError::io("writing .task-mcp/.gitignore");
                // `create_new` follows no link (open(2), O_EXCL).
                let file = OpenOptions::new().write(true).create_new(true).open(&ignore);
                let written = file.and_then(|mut file| {
                    // An empty one, as a full disk leaves it, would ignore nothing and never be written again.
                    io::Write::write_all(&mut file, b"*\n").inspect_err(|_| drop(fs::remove_file(&ignore)))
                });
                written.map_err(step)?;
            }
        }
        let dir = base.join(name);
        self.make_dir(&dir)?;
        Ok(dir)
    }

    /// The same folder if it is there and no link is on the way.
    pub(super) fn private_if_there(&self, name: &str) -> Option<PathBuf> {
        let base = self.tree.private();
        let dir = base.join(name);
        let real = |dir: &Path| fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir());
        (real(&base) && real(&dir)).then_some(dir)
    }

    /// Removes what killed writers left unfinished. The caller holds the write guard, so nobody is at work there.
    pub(super) fn sweep_scratch(&self) {
        let entries = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
        let private = self.private_if_there("tmp").into_iter().flat_map(entries);
        let beside = entries(self.tree.changes()).filter(|entry| is_temporary(&entry.file_name()));
        for entry in private.chain(beside) {
            let path = entry.path();
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(error) = removed {
                tracing::warn!(path = %path.display(), %error, "An unfinished file of a dead writer could not be removed.");
            }
        }
    }

    /// Whether there is anything to sweep.
    pub(super) fn has_litter(&self) -> bool {
        let dir = self.private_if_there("tmp");
        dir.and_then(|dir| fs::read_dir(dir).ok()).is_some_and(|mut entries| entries.next().is_some())
    }

    pub(super) fn escape(&self, path: &Path) -> ChangesError {
        ChangesError::Escape { path: self.tree.relative(path) }
    }

    fn make_dir(&self, dir: &Path) -> Result<(), ChangesError> {
        let step = ChangesError::io("making a folder below openspec/.task-mcp");
        match fs::symlink_metadata(dir) {
            Ok(meta) if meta.is_dir() => Ok(()),
            Ok(meta) if meta.is_symlink() => Err(self.escape(dir)),
            Ok(_) => Err(step(io::ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(dir).map_err(step),
            Err(error) => Err(step(error)),
        }
    }
}

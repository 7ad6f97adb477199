//! What an archive is about to do, so that a killed one can be finished or undone.
//!
//! The journal is written before the first spec and removed after the folder has moved. Found by the next writer, who
//! holds the write guard, it belongs to a dead process: a folder that has moved means the archive is complete, one that
//! has not means the specs are put back.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Core;
use crate::archive::{LOCK_FILE, SpecUpdate};
use crate::error::ChangesError;
use crate::tree::{remove_empty_dirs, replace_file};

pub(super) const RECEIPT: &str = "receipt.json";

/// The file.
#[derive(Serialize, Deserialize)]
pub(super) struct Journal {
    pid: u32,
    slug: String,
    archived_as: String,
    /// Spec files relative to the root, with their text before; none if they did not exist.
    specs: Vec<(String, Option<String>)>,
}

impl Core {
    pub(super) fn write_journal(
        &self,
        slug: &str,
        archived_as: &str,
        updates: &[SpecUpdate],
    ) -> Result<(), ChangesError> {
        let step = ChangesError::io("writing the journal");
        let mut specs = Vec::new();
        for update in updates.iter().filter(|update| update.changes_file()) {
            let before = self.tree.reader().read_if_there(&update.path).map_err(self.file_error("reading a spec"))?;
            specs.push((update.relative.clone(), before));
        }
        let pid = std::process::id();
        let journal = Journal { pid, slug: slug.to_owned(), archived_as: archived_as.to_owned(), specs };
        let text = serde_json::to_vec(&journal).map_err(|error| step(error.into()))?;
        self.private_dir("journal").map_err(&step)?;
        replace_file(&self.journal_path(), &text).map_err(step)
    }

    pub(super) fn remove_journal(&self) -> Result<(), ChangesError> {
        fs::remove_file(self.journal_path()).map_err(ChangesError::io("removing the journal"))
    }

    pub(super) fn has_journal(&self) -> bool {
        self.journal_path().exists()
    }

    /// Finishes or undoes what the journal tells of. The caller holds the write guard.
    pub(super) fn recover(&self) -> Result<(), ChangesError> {
        let step = ChangesError::io("recovering an interrupted archive");
        let text = match fs::read(self.journal_path()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(step(error)),
        };
        // It is renamed into place whole, so what cannot be read was never ours.
        let journal: Journal = serde_json::from_slice(&text).map_err(|error| step(error.into()))?;
        let moved =
            !self.tree.change(&journal.slug).exists() && self.tree.archive().join(&journal.archived_as).exists();
        if !moved {
            self.undo(&journal).map_err(&step)?;
        }
        self.release_archive_lock(journal.pid).map_err(&step)?;
        tracing::warn!(
            change = journal.slug,
            outcome = if moved { "finished" } else { "undone" },
            "An archive that was interrupted is settled."
        );
        self.remove_journal()
    }

    fn undo(&self, journal: &Journal) -> io::Result<()> {
        for (relative, before) in &journal.specs {
            let path = self.tree.root().join(relative);
            if !self.tree.contains(&path) {
                return Err(io::Error::other("a path of the journal leaves the tree"));
            }
            match before {
                Some(text) => {
                    if let Some(dir) = path.parent() {
                        fs::create_dir_all(dir)?;
                    }
                    replace_file(&path, text.as_bytes())?;
                }
                None => {
                    remove_if_there(&path)?;
                    if let Some(dir) = path.parent() {
                        remove_empty_dirs(dir, &self.tree.specs());
                    }
                }
            }
        }
        remove_if_there(&self.tree.change(&journal.slug).join(RECEIPT))
    }

    /// Removes the CLI's archive lock if `pid` wrote it.
    fn release_archive_lock(&self, pid: u32) -> io::Result<()> {
        let path = self.tree.archive().join(LOCK_FILE);
        if lock_pid(&path) == Some(pid) { remove_if_there(&path) } else { Ok(()) }
    }

    /// Removes an archive lock whose process is gone: dead on this machine, and the lock older than a minute, since an
    /// archive takes milliseconds and a process of another container only looks dead.
    pub(super) fn reclaim_archive_lock(&self) -> Result<(), ChangesError> {
        const AGE_S: u64 = 60;
        let path = self.tree.archive().join(LOCK_FILE);
        let Some(pid) = lock_pid(&path).and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0) else {
            return Ok(());
        };
        let dead = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH);
        let modified = fs::metadata(&path).and_then(|meta| meta.modified()).ok();
        let old = modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age.as_secs() >= AGE_S);
        if dead && old {
            tracing::warn!(pid, "A stale archive lock of a dead process is removed.");
            remove_if_there(&path).map_err(ChangesError::io("removing a stale archive lock"))?;
        }
        Ok(())
    }

    fn journal_path(&self) -> PathBuf {
        self.tree.private().join("journal").join("archive.json")
    }
}

fn lock_pid(path: &std::path::Path) -> Option<u32> {
    let claim: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    u32::try_from(claim.get("pid")?.as_u64()?).ok()
}

fn remove_if_there(path: &std::path::Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

//! What an archive is about to do, so that a killed one can be finished or undone.
//!
//! The journal is written before the first spec and removed after the folder has moved. Found by the next writer, who
//! holds the write guard, it belongs to a dead process: a folder that lies in the archive means the archive is complete,
//! otherwise the files are put back, as far as they still hold what the archive wrote.
//!
//! It lies in the tree, so it may have come with a clone. One of another tree is set aside (see [`Journal::check`]). One of
//! this tree that another user wrote, or a process that sees the tree at another path, is left to them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Core;
use super::record::{Entry, FORMAT, Journal};
use crate::archive::SpecUpdate;
use crate::error::ChangesError;
use crate::store::Slug;
use crate::tree::{FileError, Reader, remove_empty_dirs, remove_if_there, sweep_beside};

pub(super) const RECEIPT: &str = "receipt.json";

const FILE: &str = "archive.json";

/// Largest journal in bytes, and largest file it puts back.
const LIMIT_BYTES: u64 = 64 << 20;

/// What the archive under way is about to write.
pub(super) struct Intent<'a> {
    pub(super) slug: &'a Slug,
    pub(super) archived_as: &'a str,
    pub(super) updates: &'a [SpecUpdate],
    pub(super) receipt: (&'a Path, &'a [u8]),
    pub(super) nonce: &'a str,
}

impl Core {
    pub(super) fn write_journal(&self, intent: &Intent<'_>) -> Result<(), ChangesError> {
        let step = ChangesError::io("writing the journal");
        let mut files = Vec::new();
        let mut note = |path: &Path, after: Option<&[u8]>| -> Result<(), ChangesError> {
            let before = self.tree.reader().read_if_there(path).map_err(self.file_error("reading a spec"))?;
            files.push(Entry { path: self.tree.relative(path), before, after: after.map(hash) });
            Ok(())
        };
        for update in intent.updates.iter().filter(|update| update.changes_file()) {
            note(&update.path, (!update.retire).then_some(update.merged.text.as_bytes()))?;
        }
        let (receipt, text) = intent.receipt;
        note(receipt, Some(text))?;
        let journal = Journal {
            format: FORMAT,
            root: self.tree.root().to_string_lossy().into_owned(),
            inode: self.inode().map_err(&step)?,
            nonce: intent.nonce.to_owned(),
            slug: intent.slug.to_string(),
            archived_as: intent.archived_as.to_owned(),
            files,
        };
        let text = serde_json::to_vec(&journal).map_err(|error| step(error.into()))?;
        let path = self.private_dir("journal")?.join(FILE);
        if text.len() as u64 > LIMIT_BYTES {
            return Err(ChangesError::TooLarge { path: self.tree.relative(&path), limit_bytes: LIMIT_BYTES });
        }
        self.tree.replace_file(&path, &text).map_err(step)
    }

    /// The archive is done or undone. A journal that stays behind says so itself when it is read.
    pub(super) fn remove_journal(&self) {
        let Some(path) = self.journal() else { return };
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(%error, "The journal of a finished archive could not be removed.");
        }
    }

    pub(super) fn has_journal(&self) -> bool {
        self.journal().is_some()
    }

    /// Finishes or undoes what the journal tells of. The caller holds the write guard.
    pub(super) fn recover(&self) -> Result<(), ChangesError> {
        let Some(path) = self.journal() else { return Ok(()) };
        let (journal, slug) = match self.read_journal(&path) {
            Ok(read) => read,
            Err(Unusable::Foreign(reason)) => {
                let path = self.tree.relative(&path);
                return Err(ChangesError::Busy {
                    message: format!("an interrupted archive has to be settled first, but {path} {reason}"),
                    fix: Some(format!(
                        "Start the server once as the user and with the root that wrote {path}; or compare the main \
                         specs with the texts in it and delete it."
                    )),
                    path: Some(path),
                });
            }
            Err(Unusable::Void(reason)) => {
                tracing::error!(reason, "A journal that is not of this tree is set aside; nothing of it was done.");
                set_aside(&path);
                return Ok(());
            }
        };
        // The name in the archive was free when the journal was written. A folder that is merely gone (stashed, removed,
        // renamed) finishes nothing, but somebody else may have archived it on another day.
        let there = fs::symlink_metadata(self.tree.change(slug.as_str())).is_ok();
        let moved =
            self.tree.archive().join(&journal.archived_as).exists() || (!there && self.archived_as(&slug)?.is_some());
        let whole = if moved {
            self.finish(&journal, &slug);
            true
        } else {
            self.undo(&journal).map_err(ChangesError::io("recovering an interrupted archive"))?
        };
        self.release_archive_lock(&journal.nonce)
            .map_err(ChangesError::io("removing the lock of an interrupted archive"))?;
        tracing::warn!(
            change = %slug,
            outcome = if moved { "finished" } else { "undone" },
            "An archive that was interrupted is settled."
        );
        if whole {
            self.remove_journal()
        } else {
            set_aside(&path)
        }
        Ok(())
    }

    fn read_journal(&self, path: &Path) -> Result<(Journal, Slug), Unusable> {
        let text = match Reader::tools(LIMIT_BYTES).read(path) {
            Ok(text) => text,
            Err(FileError::Io(error)) if !is_no_file(&error) => return Err(Unusable::Foreign("cannot be read")),
            Err(error) => return Err(Unusable::Void(error.to_string())),
        };
        let journal: Journal = serde_json::from_str(&text).map_err(|error| Unusable::Void(error.to_string()))?;
        let inode = self.inode().map_err(|_| Unusable::Foreign("cannot be compared with openspec/"))?;
        let slug = journal.check(inode).map_err(Unusable::Void)?;
        let outside = |entry: &&Entry| !self.tree.contains(&self.tree.root().join(&entry.path));
        if let Some(entry) = journal.files.iter().find(outside) {
            return Err(Unusable::Void(format!("{} leaves the tree", entry.path)));
        }
        if journal.root != self.tree.root().to_string_lossy() {
            return Err(Unusable::Foreign("was written where the tree has another path"));
        }
        let owner = fs::symlink_metadata(path).map(|meta| meta.uid()).ok();
        if owner != Some(nix::unistd::geteuid().as_raw()) {
            return Err(Unusable::Foreign("belongs to another user"));
        }
        Ok((journal, slug))
    }

    /// The last steps of an archive whose folder has moved.
    fn finish(&self, journal: &Journal, slug: &Slug) {
        for entry in journal.files.iter().filter(|entry| entry.after.is_none()) {
            let path = self.tree.root().join(&entry.path);
            if let (false, Some(dir)) = (path.exists(), path.parent()) {
                remove_empty_dirs(dir, &self.tree.specs());
            }
        }
        self.drop_lock(slug);
    }

    /// Puts back every file that holds what the archive wrote. False if one holds something else: that is later work.
    fn undo(&self, journal: &Journal) -> io::Result<bool> {
        let mut whole = true;
        for entry in &journal.files {
            let path = self.tree.root().join(&entry.path);
            let Some(dir) = path.parent() else { continue };
            sweep_beside(dir);
            // What cannot be read as a plain file is none of ours.
            let now = Reader::tools(LIMIT_BYTES).read_if_there(&path).ok();
            if now.as_ref().is_some_and(|now| *now == entry.before) {
                if entry.before.is_none() {
                    remove_empty_dirs(dir, &self.tree.specs());
                }
            } else if now.as_ref().is_some_and(|now| now.as_ref().map(|text| hash(text.as_bytes())) == entry.after) {
                self.restore(&path, dir, entry.before.as_deref())?;
            } else {
                whole = false;
                tracing::error!(
                    path = entry.path,
                    "A file an interrupted archive wrote was changed since and is left as it is; compare it with the \
                     text in .task-mcp/journal/archive.json.bad."
                );
            }
        }
        Ok(whole)
    }

    fn restore(&self, path: &Path, dir: &Path, before: Option<&str>) -> io::Result<()> {
        match before {
            Some(text) => {
                fs::create_dir_all(dir)?;
                self.tree.replace_file(path, text.as_bytes())
            }
            None => {
                remove_if_there(path)?;
                remove_empty_dirs(dir, &self.tree.specs());
                Ok(())
            }
        }
    }

    fn inode(&self) -> io::Result<u64> {
        fs::metadata(self.tree.openspec()).map(|meta| meta.ino())
    }

    /// The journal's path if there is anything at it.
    fn journal(&self) -> Option<PathBuf> {
        let path = self.private_if_there("journal")?.join(FILE);
        fs::symlink_metadata(&path).is_ok().then_some(path)
    }
}

/// Why nothing is done with a journal.
enum Unusable {
    /// Garbage, or of another tree.
    Void(String),
    /// Of this tree, but not ours to act on.
    Foreign(&'static str),
}

/// Whether the reader's error is about something that is no plain file: a folder or a pipe, or a socket.
fn is_no_file(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput || error.raw_os_error() == Some(nix::errno::Errno::ENXIO as i32)
}

fn hash(text: &[u8]) -> String {
    blake3::hash(text).to_hex().to_string()
}

/// Keeps a journal for people to look at, where nobody acts on it.
fn set_aside(path: &Path) {
    let unique = path.with_extension(format!("{}.bad", uuid::Uuid::now_v7()));
    let moved = fs::rename(path, path.with_extension("json.bad")).or_else(|_| fs::rename(path, unique));
    if let Err(error) = moved {
        tracing::error!(%error, "The journal could not be set aside.");
    }
}

//! What an archive is about to do, so that a killed one can be finished or undone.
//!
//! The journal is written before the first spec and removed after the folder has moved. Found by the next writer, who
//! holds the write guard, it belongs to a dead process: a folder that has moved means the archive is complete, one that
//! has not means the files are put back, as far as they still hold what the archive wrote.
//!
//! It lies in the tree, so it may have come with a clone. Only one of this very tree is acted on (see [`Journal::check`]);
//! any other is set aside.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Core, is_archive_of};
use crate::archive::SpecUpdate;
use crate::error::ChangesError;
use crate::store::Slug;
use crate::tree::{Reader, remove_empty_dirs, remove_if_there, sweep_beside};

pub(super) const RECEIPT: &str = "receipt.json";

const FILE: &str = "archive.json";
const FORMAT: u32 = 2;

/// Largest journal in bytes, and largest file it puts back.
const LIMIT_BYTES: u64 = 64 << 20;

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Journal {
    format: u32,
    /// The root it was written for.
    root: String,
    /// Inode of `openspec/`. No clone can know it; the device is left out, since its number may change with a restart.
    inode: u64,
    /// The nonce in the archive lock.
    nonce: String,
    slug: String,
    archived_as: String,
    files: Vec<Entry>,
}

/// A file the archive writes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Relative to the root.
    path: String,
    /// Its text before; none if it did not exist.
    before: Option<String>,
    /// Hash of its text after; none if it is deleted.
    after: Option<String>,
}

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
            Err(reason) => {
                tracing::error!(reason, "A journal that is not of this tree is set aside; nothing of it was done.");
                set_aside(&path);
                return Ok(());
            }
        };
        // The name in the archive was free when the journal was written.
        let moved =
            !self.tree.change(slug.as_str()).exists() || self.tree.archive().join(&journal.archived_as).exists();
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

    fn read_journal(&self, path: &Path) -> Result<(Journal, Slug), String> {
        let owner = fs::symlink_metadata(path).map_err(|error| error.to_string())?.uid();
        if owner != nix::unistd::geteuid().as_raw() {
            return Err("it belongs to another user".to_owned());
        }
        let text = Reader::tools(LIMIT_BYTES).read(path).map_err(|error| error.to_string())?;
        let journal: Journal = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let slug = journal.check(self.tree.root(), self.inode().map_err(|error| error.to_string())?)?;
        match journal.files.iter().find(|entry| !self.tree.contains(&self.tree.root().join(&entry.path))) {
            Some(entry) => Err(format!("{} leaves the tree", entry.path)),
            None => Ok((journal, slug)),
        }
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

impl Journal {
    /// Whether it was written for this tree and names only files an archive writes.
    fn check(&self, root: &Path, inode: u64) -> Result<Slug, String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, not {FORMAT}", self.format));
        }
        if self.root != root.to_string_lossy() || self.inode != inode {
            return Err("it was written for another tree".to_owned());
        }
        let slug = Slug::parse(&self.slug).map_err(|error| error.to_string())?;
        if !is_archive_of(&self.archived_as, &slug) {
            return Err(format!("{:?} is no archive of {slug}", self.archived_as));
        }
        let receipt = format!("openspec/changes/{slug}/{RECEIPT}");
        match self.files.iter().find(|entry| entry.path != receipt && !is_main_spec(&entry.path)) {
            Some(entry) => Err(format!("{:?} is no file an archive writes", entry.path)),
            None => Ok(slug),
        }
    }
}

/// `openspec/specs/<capability>/spec.md`, with nothing in between that leads elsewhere.
fn is_main_spec(path: &str) -> bool {
    let id = path.strip_prefix("openspec/specs/").and_then(|rest| rest.strip_suffix("/spec.md"));
    id.is_some_and(|id| {
        !id.is_empty()
            && id.split('/').all(|part| matches!(Path::new(part).components().next(), Some(Component::Normal(_))))
            && !id.contains('\0')
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_main_specs_are_put_back() {
        for good in ["openspec/specs/a/spec.md", "openspec/specs/area/b c/spec.md"] {
            assert!(is_main_spec(good), "{good}");
        }
        for bad in [
            ".git/config",
            "openspec/specs/spec.md",
            "openspec/specs//spec.md",
            "openspec/specs/../x/spec.md",
            "openspec/specs/a/../../../b/spec.md",
            "openspec/specs/./spec.md",
            "/openspec/specs/a/spec.md",
            "openspec/specs/a//b/spec.md",
            "openspec/specs/a/config",
        ] {
            assert!(!is_main_spec(bad), "{bad}");
        }
    }
}

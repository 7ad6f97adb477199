//! An `openspec/` tree on disk: where things lie, what there is, how files are read.

mod change;
mod read;
mod scan;
mod turn;
mod write;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use read::{FileError, Reader};
pub(crate) use scan::{mtime_ms, newest_mtime_ms, plain_files, survey};
pub(crate) use turn::{PATIENCE, Turn};
pub(crate) use write::{TEMP_PREFIX, TEMP_SUFFIX, is_temporary, remove_empty_dirs, remove_if_there, sweep_beside};

/// The tree below one root.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    reader: Reader,
}

/// The files of a change the tools know by name.
pub(crate) const PROPOSAL: &str = "proposal.md";
pub(crate) const TASKS: &str = "tasks.md";
pub(crate) const METADATA: &str = ".openspec.yaml";

impl Tree {
    pub(crate) fn new(root: &Path, reader: Reader) -> Self {
        Self { root: root.to_owned(), reader }
    }

    /// The nearest ancestor of `cwd` that holds `openspec/` with `specs/` or `changes/`, read as the CLI reads.
    pub(crate) fn nearest(cwd: &Path) -> Option<Self> {
        let holds = |dir: &&Path| ["specs", "changes"].iter().any(|d| dir.join("openspec").join(d).is_dir());
        cwd.ancestors().find(holds).map(|root| Self::new(root, Reader::cli()))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn reader(&self) -> Reader {
        self.reader
    }

    pub(crate) fn openspec(&self) -> PathBuf {
        self.root.join("openspec")
    }

    pub(crate) fn changes(&self) -> PathBuf {
        self.root.join("openspec/changes")
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.root.join("openspec/changes/archive")
    }

    pub(crate) fn specs(&self) -> PathBuf {
        self.root.join("openspec/specs")
    }

    /// The folder of an active change. The caller has checked the name.
    pub(crate) fn change(&self, name: &str) -> PathBuf {
        self.changes().join(name)
    }

    /// Our own folder: locks, unfinished changes, the journal. Nothing the CLI lists lies there.
    pub(crate) fn private(&self) -> PathBuf {
        self.root.join("openspec/.task-mcp")
    }

    /// A path as messages and receipts print it: relative to the root, with slashes.
    pub(crate) fn relative(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.root).unwrap_or(path);
        inside.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
    }

    /// Whether a path, links followed as far as it exists, stays below the root.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        let Ok(root) = fs::canonicalize(&self.root) else { return false };
        let existing = path.ancestors().find_map(|p| fs::canonicalize(p).ok());
        existing.is_some_and(|real| real.starts_with(&root))
    }
}

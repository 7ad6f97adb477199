//! What there is in a tree: changes, spec files, times.

use std::fs::{self, DirEntry, FileType};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{FileError, Tree};

/// Folders are followed this deep; a tree of real folders never gets there.
const DEPTH_MAX: usize = 32;

/// A folder below `changes/` that only wraps changes.
#[derive(Debug)]
pub(crate) struct Nested {
    name: String,
    /// The wrapped changes, `folder/change`.
    pub(crate) changes: Vec<String>,
}

impl Tree {
    /// The names of all folders below `changes/` but `archive`, dot folders included, byte-sorted. Links and names that
    /// are no UTF-8 are left out. A missing folder is an empty list.
    pub(crate) fn change_names(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = folders(&self.changes())?.into_iter().filter(|name| name != "archive").collect();
        names.sort();
        Ok(names)
    }

    /// Every `spec.md` at least one folder below `dir`: id and path, sorted by id. Dot entries and linked folders are
    /// skipped.
    pub(crate) fn spec_files(&self, dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        walk(dir, "", DEPTH_MAX, &mut |relative, path| {
            if let Some(id) = relative.strip_suffix("/spec.md") {
                found.push((id.to_owned(), path.to_owned()));
            }
        })?;
        found.sort();
        Ok(found)
    }

    /// Whether any file lies below `dir`, dot entries aside.
    pub(crate) fn has_files(&self, dir: &Path) -> io::Result<bool> {
        let mut found = false;
        walk(dir, "", DEPTH_MAX, &mut |_, _| found = true)?;
        Ok(found)
    }

    /// The other markdown files below `dir`, `spec.md` itself aside, sorted by path.
    pub(crate) fn other_markdown(&self, dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        walk(dir, "", DEPTH_MAX, &mut |relative, path| {
            let is_spec = relative == "spec.md" || relative.ends_with("/spec.md");
            if relative.ends_with(".md") && !is_spec {
                found.push((relative.to_owned(), path.to_owned()));
            }
        })?;
        found.sort();
        Ok(found)
    }

    /// Whether the folder is no change but wraps changes: nothing of a change in it, but below.
    pub(crate) fn nested(&self, name: &str) -> io::Result<Option<Nested>> {
        let dir = self.change(name);
        if name.starts_with('.')
            || looks_like_change(&dir)
            || fs::read_dir(&dir)?.flatten().any(|entry| is_file(&entry))
        {
            return Ok(None);
        }
        let mut changes = Vec::new();
        wrapped(&dir, name, DEPTH_MAX, &mut changes)?;
        changes.sort();
        Ok((!changes.is_empty()).then(|| Nested { name: name.to_owned(), changes }))
    }
}

impl Nested {
    /// The CLI's explanation.
    pub(crate) fn message(&self) -> String {
        let name = &self.name;
        let example = self.changes.first().map(|c| c.replace('/', "-")).unwrap_or_default();
        format!(
            "\"{name}\" is not a change: it is a folder wrapping {}. A change must be a directory directly under \
             openspec/changes/, so those nested directories are invisible to OpenSpec while the folder around them is \
             reported as a change. Nested paths are supported under openspec/specs/ only. Rename each nested change to a \
             flat name (for example \"{example}\").",
            self.folders().join(", ")
        )
    }

    /// The CLI's remedy.
    pub(crate) fn fix(&self) -> String {
        let first = self.folders().into_iter().next().unwrap_or_default();
        format!("Rename {first} to a flat change directory, then archive it.")
    }

    fn folders(&self) -> Vec<String> {
        self.changes.iter().map(|change| format!("openspec/changes/{change}/")).collect()
    }
}

/// Every file below `dir`, dot files included, relative to it; sorted. The first link found is the error, as is a folder
/// so deep that links in it would not be seen.
pub(crate) fn plain_files(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut files = Vec::new();
    visit(dir, DEPTH_MAX, &mut |path, _| files.push(path.to_owned()))?;
    files.sort();
    for path in &files {
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_symlink() => return Err(FileError::Link { path: path.clone() }),
            Ok(meta) if meta.is_dir() => return Err(FileError::TooDeep { path: path.clone() }),
            _ => {}
        }
    }
    Ok(files.into_iter().filter_map(|path| path.strip_prefix(dir).map(Path::to_owned).ok()).collect())
}

/// The newest change of any file below, else of the folder; milliseconds since the epoch.
pub(crate) fn newest_mtime_ms(dir: &Path) -> io::Result<i64> {
    survey(dir, |_, _| {})
}

/// The same; on the way each plain file is told, with what the system knows of it.
pub(crate) fn survey(dir: &Path, mut each: impl FnMut(&Path, &fs::Metadata)) -> io::Result<i64> {
    let mut newest = None;
    visit(dir, DEPTH_MAX, &mut |path, kind| {
        if let Ok(meta) = fs::metadata(path) {
            newest = newest.max(Some(mtime_ms(&meta)));
            if kind.is_file() {
                each(path, &meta);
            }
        }
    })?;
    newest.map_or_else(|| fs::metadata(dir).map(|meta| mtime_ms(&meta)), Ok)
}

/// When a file was changed, rounded to the nearest millisecond as Node does (`Stats.mtime`).
pub(crate) fn mtime_ms(meta: &fs::Metadata) -> i64 {
    meta.mtime().saturating_mul(1000).saturating_add((meta.mtime_nsec() + 500_000) / 1_000_000)
}

fn looks_like_change(dir: &Path) -> bool {
    ["proposal.md", "tasks.md", "design.md", ".openspec.yaml", "specs"].iter().any(|name| dir.join(name).exists())
}

fn wrapped(dir: &Path, name: &str, depth: usize, found: &mut Vec<String>) -> io::Result<()> {
    for child in folders(dir)?.into_iter().filter(|child| !child.starts_with('.')) {
        let (path, name) = (dir.join(&child), format!("{name}/{child}"));
        if looks_like_change(&path) {
            found.push(name);
        } else if depth > 0 {
            wrapped(&path, &name, depth - 1, found)?;
        }
    }
    Ok(())
}

fn folders(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let is_dir = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    Ok(entries.flatten().filter(is_dir).filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn is_file(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_file())
}

/// Calls back for each file below, with its path relative to `dir`; dot entries and linked folders are skipped.
fn walk(dir: &Path, prefix: &str, depth: usize, each: &mut impl FnMut(&str, &Path)) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let relative = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if kind.is_dir() && depth > 0 {
            walk(&entry.path(), &relative, depth - 1, each)?;
        } else if !kind.is_dir() {
            each(&relative, &entry.path());
        }
    }
    Ok(())
}

/// Calls back for every file below, dot entries included, and for the folders that lie too deep to be entered; linked
/// folders are not entered either.
fn visit(dir: &Path, depth: usize, each: &mut impl FnMut(&Path, FileType)) -> io::Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => visit(&entry.path(), depth - 1, each)?,
            Ok(kind) => each(&entry.path(), kind),
            Err(_) => {}
        }
    }
    Ok(())
}

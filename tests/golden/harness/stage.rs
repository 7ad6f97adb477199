//! Setting a golden case up in a folder of its own, and reading back what a run made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::ordered::Ordered;

/// `case.json`.
#[derive(Deserialize)]
pub struct Case {
    pub id: String,
    default_mtime: u64,
    mtimes: BTreeMap<String, u64>,
    empty_dirs: Vec<String>,
    symlinks: Vec<(String, String)>,
}

/// One record of `expected.json`.
#[derive(Deserialize)]
pub struct Run {
    pub id: String,
    pub argv: Vec<String>,
    pub exit: i32,
    pub stdout_json: Option<Ordered>,
    pub stdout: Option<String>,
    pub stderr: String,
    pub tree: Tree,
}

/// What became of the tree.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Tree {
    /// The word `unchanged`.
    Same(Word),
    Changed {
        moved: Vec<(String, String)>,
        deleted: Vec<String>,
        written: Vec<String>,
        empty_dirs: Vec<String>,
    },
}

/// The one word a record may have instead of a description.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    Unchanged,
}

/// Everything below a folder: files with their bytes, links with their targets, folders left empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub files: BTreeMap<String, Vec<u8>>,
    pub links: BTreeMap<String, PathBuf>,
    pub empty_dirs: BTreeSet<String>,
}

/// The folder of all cases.
fn cases_dir() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = crate_dir.ancestors().map(|dir| dir.join("tests/golden/cases")).find(|cases| cases.is_dir());
    cases.expect("the cases lie in tests/golden of the workspace")
}

/// All cases, in order of their names.
pub fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<_> = fs::read_dir(cases_dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    cases
}

pub fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Case {
    /// Lays the case out in `root`. `day` stands for `@DATE@` in names.
    pub fn set(&self, dir: &Path, root: &Path, day: &str) {
        copy(&dir.join("before"), root, day);
        for empty in &self.empty_dirs {
            fs::create_dir_all(root.join(empty)).unwrap();
        }
        for (link, target) in &self.symlinks {
            symlink(target, root.join(link)).unwrap();
        }
        self.set_times(root, root);
    }

    fn set_times(&self, root: &Path, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_symlink() {
                continue;
            }
            if kind.is_dir() {
                self.set_times(root, &entry.path());
            }
            let relative = entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let seconds = *self.mtimes.get(&relative).unwrap_or(&self.default_mtime);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::open(entry.path()).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
        }
    }
}

impl Snapshot {
    pub fn of(root: &Path) -> Self {
        let mut snapshot = Self::default();
        snapshot.add(root, root);
        snapshot
    }

    fn add(&mut self, root: &Path, dir: &Path) {
        let mut empty = true;
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            empty = false;
            let relative = entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let kind = entry.file_type().unwrap();
            if kind.is_symlink() {
                self.links.insert(relative, fs::read_link(entry.path()).unwrap());
            } else if kind.is_dir() {
                self.add(root, &entry.path());
            } else {
                self.files.insert(relative, fs::read(entry.path()).unwrap());
            }
        }
        if empty && dir != root {
            self.empty_dirs.insert(dir.strip_prefix(root).unwrap().to_string_lossy().into_owned());
        }
    }

    /// The tree the record describes. `after` holds the files the run wrote.
    pub fn expected(before: Self, tree: &Tree, after: &Path, day: &str) -> Self {
        let (moved, deleted, written, empty_dirs) = match tree {
            Tree::Same(Word::Unchanged) => return before,
            Tree::Changed { moved, deleted, written, empty_dirs } => (moved, deleted, written, empty_dirs),
        };
        let mut expected = Self { links: before.links, ..Self::default() };
        let old = before.files;
        let gone: BTreeSet<&String> = moved.iter().map(|(from, _)| from).chain(deleted).collect();
        expected.files.extend(old.iter().filter(|(path, _)| !gone.contains(path)).map(|(p, b)| (p.clone(), b.clone())));
        for (from, to) in moved {
            expected.files.insert(to.replace("@DATE@", day), old[from].clone());
        }
        for path in written {
            expected.files.insert(path.replace("@DATE@", day), fs::read(after.join(path)).unwrap());
        }
        expected.empty_dirs = empty_dirs.iter().map(|dir| dir.replace("@DATE@", day)).collect();
        expected
    }
}

fn copy(from: &Path, to: &Path, day: &str) {
    // A case may start from nothing but empty folders.
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir_all(to).unwrap();
    for entry in entries.map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().replace("@DATE@", day);
        let target = to.join(name);
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target, day);
        } else {
            fs::write(&target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

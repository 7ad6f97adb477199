//! How edited files looked when clients were told of them, so that they are not told of the same edit again.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::gathered::Gathered;

/// Entries of a folder that are looked at, with all that is below it. Of a larger one nobody can say whether it is the same.
const ENTRIES_MAX: usize = 10_000;

/// What files and folders looked like, by their paths; as many as are gathered. `None` if that cannot be said.
#[derive(Default)]
pub(super) struct Told {
    looks: HashMap<PathBuf, Option<u64>>,
    hasher: RandomState,
}

impl Told {
    /// Remembers how what was edited looks now. Of everything, and of more paths than are gathered, nothing is remembered.
    pub(super) fn look(&mut self, gathered: &Gathered) {
        for path in gathered.paths() {
            let look = self.look_of(path);
            self.looks.insert(path.clone(), look);
        }
    }

    /// What of it looks otherwise now than when it was remembered.
    pub(super) fn untold(&self, tree: &Path, gathered: &Gathered) -> Gathered {
        if gathered.is_everything() {
            return Gathered::everything();
        }
        let is_told = |path: &PathBuf| {
            let look = self.looks.get(path).copied().flatten();
            look.is_some() && look == self.look_of(path)
        };
        let paths: Vec<PathBuf> = gathered.paths().filter(|path| !is_told(path)).cloned().collect();
        // Without a path, that would be everything.
        if paths.is_empty() { Gathered::default() } else { Gathered::of(tree, &paths) }
    }

    /// A file's or a folder's with all that is in it; also of what is not there.
    fn look_of(&self, path: &Path) -> Option<u64> {
        let mut sum = self.hasher.build_hasher();
        let mut waiting = vec![path.to_owned()];
        let mut seen = 0;
        while let Some(path) = waiting.pop() {
            seen += 1;
            if seen > ENTRIES_MAX {
                return None;
            }
            let found = fs::symlink_metadata(&path).ok();
            sum.write_u64(self.hasher.hash_one((&path, found.as_ref().map(look))));
            if found.is_some_and(|found| found.is_dir()) {
                let mut entries: Vec<PathBuf> =
                    fs::read_dir(&path).ok()?.take(ENTRIES_MAX).flatten().map(|entry| entry.path()).collect();
                entries.sort();
                waiting.extend(entries);
            }
        }
        Some(sum.finish())
    }
}

/// What is another after each edit.
fn look(found: &Metadata) -> impl std::hash::Hash + use<> {
    (found.ino(), found.size(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_looks_otherwise_is_told_again() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path();
        let change = tree.join("changes/add-x");
        fs::create_dir_all(&change).unwrap();
        let (tasks, design) = (change.join("tasks.md"), change.join("design.md"));
        fs::write(&tasks, "x").unwrap();
        let edited = Gathered::of(tree, &[tasks.clone(), design.clone()]);
        let mut told = Told::default();
        assert_eq!(told.untold(tree, &edited), edited, "nothing was told yet");
        told.look(&edited);
        assert_eq!(told.untold(tree, &edited), Gathered::default());
        fs::write(&tasks, "xy").unwrap();
        assert_eq!(told.untold(tree, &edited), Gathered::of(tree, std::slice::from_ref(&tasks)));
        told.look(&edited);
        fs::write(&design, "x").unwrap();
        assert_eq!(told.untold(tree, &edited), Gathered::of(tree, &[design]), "it came");
        told.look(&edited);
        fs::remove_file(&tasks).unwrap();
        assert_eq!(told.untold(tree, &edited), Gathered::of(tree, &[tasks]), "it went");
        assert_eq!(told.untold(tree, &Gathered::everything()), Gathered::everything());
    }

    #[test]
    fn a_file_that_nobody_saw_in_a_new_folder_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path();
        let specs = tree.join("specs/area/sessions");
        fs::create_dir_all(&specs).unwrap();
        let edited = Gathered::of(tree, &[tree.join("specs/area")]);
        let mut told = Told::default();
        told.look(&edited);
        assert_eq!(told.untold(tree, &edited), Gathered::default());
        fs::write(specs.join("spec.md"), "x").unwrap();
        assert_eq!(told.untold(tree, &edited), edited);
    }
}

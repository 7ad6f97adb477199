//! Which documents there are, so that clients hear when one came or went, and not each time an editor replaces one.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;

use task_mcp_changes::{Area, document_names};

/// Parts of a tree that are remembered. A tree with more is asked each time, and counts as different.
const AREAS_MAX: usize = 100_000;

/// The documents of each part of a tree, as one number: equal as long as they are the same.
pub(super) struct Census {
    root: PathBuf,
    hasher: RandomState,
    counted: HashMap<Area, u64>,
}

impl Census {
    /// Of nothing yet.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, hasher: RandomState::new(), counted: HashMap::new() }
    }

    /// Counts everything.
    pub(super) fn take(&mut self) {
        let folders = fs::read_dir(self.root.join("openspec/changes")).into_iter().flatten().flatten();
        let changes = folders.filter_map(|folder| folder.file_name().into_string().ok()).map(Area::Change);
        self.counted =
            changes.chain([Area::Specs]).take(AREAS_MAX).map(|area| (area.clone(), self.count(&area))).collect();
    }

    /// Counts these parts anew; whether the documents are others than before.
    pub(super) fn differs<'a>(&mut self, areas: impl Iterator<Item = &'a Area>) -> bool {
        let mut differs = false;
        for area in areas {
            let now = self.count(area);
            let nothing = self.hasher.hash_one::<&[String]>(&[]);
            let before = self.counted.get(area).copied().unwrap_or(nothing);
            differs |= before != now;
            if now == nothing {
                self.counted.remove(area);
            } else if self.counted.len() < AREAS_MAX {
                self.counted.insert(area.clone(), now);
            }
        }
        differs
    }

    fn count(&self, area: &Area) -> u64 {
        let names: Vec<String> = document_names(&self.root, area).iter().map(|name| name.uri()).collect();
        self.hasher.hash_one(names.as_slice())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn documents_that_came_or_went_make_the_difference() {
        let root = tempfile::tempdir().unwrap();
        let change = root.path().join("openspec/changes/add-x");
        fs::create_dir_all(&change).unwrap();
        fs::write(change.join("tasks.md"), "x").unwrap();
        let mut census = Census::new(root.path().to_owned());
        census.take();
        let of = |name: &str| [Area::Change(name.to_owned()), Area::Specs];
        let mut differs = |name: &str| census.differs(of(name).iter());
        assert!(!differs("add-x") && !differs("nothing-here"));
        fs::write(change.join("tasks.md~"), "y").unwrap();
        fs::rename(change.join("tasks.md~"), change.join("tasks.md")).unwrap();
        assert!(!differs("add-x"), "a document was replaced");
        fs::write(change.join("notes.md"), "x").unwrap();
        assert!(!differs("add-x"), "no document came");
        fs::write(change.join("design.md"), "x").unwrap();
        assert!(differs("add-x") && !differs("add-x"), "one came, once");
        let specs = root.path().join("openspec/specs/accounts");
        fs::create_dir_all(&specs).unwrap();
        assert!(!differs("add-x"));
        fs::write(specs.join("spec.md"), "x").unwrap();
        assert!(differs("add-x"));
        fs::rename(&change, root.path().join("openspec/changes/add-y")).unwrap();
        assert!(differs("add-y") && differs("add-x") && !differs("add-x"), "one went and another came");
    }
}

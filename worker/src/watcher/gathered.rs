//! What was edited, gathered until it is bumped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use task_mcp_changes::Area;
use task_mcp_tools::{Tag, tags};

/// More tags than this are as good as all: bumping costs more than computing.
const TAGS_MAX: usize = 256;
/// The same of paths, of which several may have the same tags.
const PATHS_MAX: usize = 1_024;

/// The tags of what was edited, and whether the index may differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gathered {
    tags: BTreeSet<Tag>,
    index: bool,
    areas: BTreeSet<Area>,
    /// Those that were edited, whose tags these are; none of everything.
    paths: BTreeSet<PathBuf>,
}

impl Gathered {
    /// Nobody knows what was edited.
    pub(super) fn everything() -> Self {
        Self { tags: BTreeSet::from([tags::everything()]), index: true, ..Self::default() }
    }

    /// What edits of these paths below `tree` have touched. Without a path nobody knows.
    pub(super) fn of(tree: &Path, paths: &[PathBuf]) -> Self {
        if paths.is_empty() {
            return Self::everything();
        }
        let mut gathered = Self::default();
        for path in paths {
            let touched = tags::touched(path.strip_prefix(tree).unwrap_or(Path::new("")));
            let areas = touched.area.into_iter().collect();
            let tags: BTreeSet<Tag> = touched.tags.into_iter().collect();
            let paths = if tags.is_empty() { BTreeSet::new() } else { BTreeSet::from([path.clone()]) };
            gathered.join(Self { tags, index: touched.index, areas, paths });
        }
        gathered
    }

    /// Adds what another edit has touched.
    pub(super) fn join(&mut self, other: Self) {
        self.tags.extend(other.tags);
        self.index |= other.index;
        self.areas.extend(other.areas);
        self.paths.extend(other.paths);
        if self.tags.len() > TAGS_MAX || self.paths.len() > PATHS_MAX || self.tags.contains(&tags::everything()) {
            *self = Self::everything();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tags.is_empty() && !self.index
    }

    pub(super) fn index(&self) -> bool {
        self.index
    }

    /// Whether nobody knows what was edited.
    pub(super) fn is_everything(&self) -> bool {
        self.tags.contains(&tags::everything())
    }

    /// Where documents may have come or gone; of everything, that is everywhere.
    pub(super) fn areas(&self) -> impl Iterator<Item = &Area> {
        self.areas.iter()
    }

    /// What was edited; nothing if nobody knows.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.paths.iter()
    }

    pub(super) fn tags(&self) -> Vec<Tag> {
        self.tags.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_add_up_until_they_are_everything() {
        let tree = Path::new("/root/openspec");
        let mut gathered = Gathered::of(tree, &[tree.join("changes/a/tasks.md"), tree.join(".task-mcp/locks/b.json")]);
        assert!(gathered.index());
        let names: Vec<String> = gathered.tags().iter().map(|tag| tag.as_str().to_owned()).collect();
        assert_eq!(names, ["change:a", "change:b", "changes", "folder:changes/a/tasks.md"]);
        assert_eq!(
            gathered.areas().collect::<Vec<_>>(),
            [&Area::Change("a".to_owned())],
            "`a` is no slug, but a folder"
        );
        assert!(!Gathered::of(tree, &[tree.join(".task-mcp/locks/b.json")]).index(), "locks are in no list");
        assert!(Gathered::of(tree, &[tree.join(".task-mcp/tmp/x")]).is_empty(), "our own scratch is nobody's");
        assert_eq!(Gathered::of(tree, &[]), Gathered::everything());
        assert_eq!(Gathered::of(tree, &["/elsewhere".into()]), Gathered::everything());
        assert!(Gathered::everything().is_everything() && !gathered.is_everything());
        for number in 0..TAGS_MAX {
            gathered.join(Gathered::of(tree, &[tree.join(format!("changes/c{number}"))]));
        }
        assert_eq!(gathered, Gathered::everything());
    }
}

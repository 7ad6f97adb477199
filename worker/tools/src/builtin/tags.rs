//! What results over the tree depend on: one name for each thing that changes, for the tools that read it, for those that write
//! it, and for the watcher that sees it edited by hand.
//!
//! | tag | changes with |
//! |---|---|
//! | `openspec` | everything: every result over the tree has it |
//! | `changes` | the lists of changes, active and archived, with what they tell of each change |
//! | `change:<slug>` | one change: its folder, its lock, whether it is archived |
//! | `documents` | which documents there are: those of active changes and the living specs |
//! | `document:<path>` | one document of a change |
//! | `specs` | the list of living specs |
//! | `spec:<capability>` | one living spec |
//! | `folder:<path>` | a folder that documents may lie in: it came, or went, with all that is in it |

use std::path::{Component, Path};

use serde_json::Value;
use task_mcp_cache::Tag;
use task_mcp_changes::{Area, DocumentName};

/// Most names in a path that has a tag; below, everything has changed.
const NAMES_MAX: usize = 12;

/// Everything below `openspec/`: bumped when nobody can say what has changed.
pub fn everything() -> Tag {
    Tag::new("openspec")
}

pub(super) fn changes() -> Tag {
    Tag::new("changes")
}

/// Which documents there are.
pub fn documents() -> Tag {
    Tag::new("documents")
}

pub(super) fn specs() -> Tag {
    Tag::new("specs")
}

pub(super) fn change(slug: &str) -> Tag {
    Tag::new(&format!("change:{slug}"))
}

/// Of the change that the arguments name.
pub(super) fn change_of(arguments: &Value) -> Tag {
    change(arguments.get("slug").and_then(Value::as_str).unwrap_or_default())
}

/// The folder of a change, with all that is in it.
pub(super) fn folder_of(slug: &str) -> Tag {
    folder(&format!("changes/{slug}"))
}

fn folder(path: &str) -> Tag {
    Tag::new(&format!("folder:{path}"))
}

/// Bumped when the document itself changes.
pub(super) fn document(name: &DocumentName) -> Tag {
    match name {
        DocumentName::Change(..) => Tag::new(&format!("document:{}", name.path())),
        DocumentName::Spec(capability) => Tag::new(&format!("spec:{}", capability.as_str())),
    }
}

/// What the text of a document depends on: itself, and each folder it lies in.
pub(super) fn text_of(name: &DocumentName) -> Vec<Tag> {
    let path = name.path();
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).take(NAMES_MAX);
    let folders = ends.filter_map(|end| path.get(..end)).map(folder);
    [document(name), everything()].into_iter().chain(folders).collect()
}

/// What an edit has touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Tags that are to be bumped.
    pub tags: Vec<Tag>,
    /// Whether the index of changes may differ now; it moves on before the tags do.
    pub index: bool,
    /// Where documents may have come or gone.
    pub area: Option<Area>,
}

/// What an edit of `path` touches; `path` is relative to `openspec/`.
pub fn touched(path: &Path) -> Touched {
    let names: Option<Vec<&str>> = path
        .components()
        .map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let names = names.unwrap_or_default();
    let (tags, area) = match names.as_slice() {
        [".task-mcp", "locks", lock] => {
            let tags = lock.strip_suffix(".json").map(change).into_iter().collect();
            return Touched { tags, index: false, area: None };
        }
        [".task-mcp", ..] => return Touched { tags: Vec::new(), index: false, area: None },
        ["changes", "archive", archived, ..] => {
            (vec![changes(), change(without_day(archived)), change(archived)], None)
        }
        ["changes", slug, ..] if *slug != "archive" && names.len() <= NAMES_MAX => {
            (vec![changes(), change(slug), itself(&names)], Some(Area::Change((*slug).to_owned())))
        }
        ["specs", _, ..] if names.len() <= NAMES_MAX => (vec![specs(), itself(&names)], Some(Area::Specs)),
        _ => (vec![everything()], None),
    };
    Touched { tags, index: true, area }
}

/// Of a path: a document's, else that of what may be a folder. What was removed does not tell what it was.
fn itself(names: &[&str]) -> Tag {
    let path = names.join("/");
    DocumentName::of_path(&path).map_or_else(|| folder(&path), |name| document(&name))
}

/// The slug in the name of an archive folder, `<year>-<month>-<day>-<slug>`.
fn without_day(archived: &str) -> &str {
    archived.splitn(4, '-').nth(3).unwrap_or(archived)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_edit_touches_what_it_can_have_changed() {
        let tags = |path: &str| {
            let Touched { tags, index, .. } = touched(Path::new(path));
            let names: Vec<String> = tags.iter().map(|tag| tag.as_str().to_owned()).collect();
            (names.join(" "), index)
        };
        for (path, expected) in [
            ("changes/add-x", "changes change:add-x folder:changes/add-x"),
            ("changes/add-x/tasks.md", "changes change:add-x document:changes/add-x/tasks.md"),
            ("changes/add-x/specs/a/spec.md", "changes change:add-x document:changes/add-x/specs/a/spec.md"),
            ("changes/add-x/specs/a", "changes change:add-x folder:changes/add-x/specs/a"),
            ("changes/archive/2026-01-31-add-x/tasks.md", "changes change:add-x change:2026-01-31-add-x"),
            ("specs/accounts/spec.md", "specs spec:accounts"),
            ("specs/area", "specs folder:specs/area"),
            ("specs/area/accounts/spec.md", "specs spec:area/accounts"),
            ("changes", "openspec"),
            ("changes/archive", "openspec"),
            ("specs", "openspec"),
            ("specs/1/2/3/4/5/6/7/8/9/10/11/12", "openspec"),
            ("changes/1/2/3/4/5/6/7/8/9/10/11/12", "openspec"),
            ("project.md", "openspec"),
            ("", "openspec"),
            ("../elsewhere", "openspec"),
        ] {
            assert_eq!(tags(path), (expected.to_owned(), true), "{path}");
        }
        assert_eq!(tags(".task-mcp/locks/add-x.json"), ("change:add-x".to_owned(), false));
        assert_eq!(tags(".task-mcp/tmp/half"), (String::new(), false));
    }

    #[test]
    fn a_text_depends_on_its_document_and_its_folders_and_on_no_other_document() {
        let reads = |path: &str| {
            let text = text_of(&DocumentName::of_path(path).unwrap());
            move |edit: &str| touched(Path::new(edit)).tags.iter().any(|tag| text.contains(tag))
        };
        let tasks = reads("changes/add-x/tasks.md");
        assert!(tasks("changes/add-x/tasks.md") && tasks("changes/add-x") && tasks("changes"));
        for other in [
            "changes/add-x/proposal.md",
            "changes/add-x/specs/a/spec.md",
            "changes/add-y/tasks.md",
            "changes/archive/2026-01-31-add-x/tasks.md",
            ".task-mcp/locks/add-x.json",
            "specs/accounts/spec.md",
        ] {
            assert!(!tasks(other), "{other}");
        }
        let delta = reads("changes/add-x/specs/area/a/spec.md");
        assert!(
            delta("changes/add-x/specs/area/a") && delta("changes/add-x/specs/area") && delta("changes/add-x/specs")
        );
        assert!(!delta("changes/add-x/specs/area/spec.md") && !delta("changes/add-x/tasks.md"));
        let spec = reads("specs/area/accounts/spec.md");
        assert!(spec("specs/area/accounts/spec.md") && spec("specs/area") && spec("specs"));
        assert!(!spec("specs/area/spec.md") && !spec("specs/area/other/spec.md"));
        let deep = format!("specs/{}spec.md", "a/".repeat(30));
        assert!(reads(&deep)(&deep));
    }

    #[test]
    fn the_tags_of_all_results_have_cells_of_their_own() {
        // `tree` is the epoch of the index, which every write moves on.
        let cells: HashSet<usize> =
            [everything(), changes(), documents(), specs(), Tag::new("tree")].map(|tag| tag.cell()).into();
        assert_eq!(cells.len(), 5);
    }
}

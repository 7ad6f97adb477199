//! What results over the tree depend on: one name for each thing that changes, for the tools that read it, for those that write
//! it, and for the watcher that sees it edited by hand.
//!
//! | tag | changes with |
//! |---|---|
//! | `openspec` | everything: every result over the tree has it |
//! | `changes` | the lists of changes, active and archived, with what they tell of each change |
//! | `change:<slug>` | one change: its folder, its lock, whether it is archived |
//! | `specs` | the list of living specs |
//! | `spec:<capability>` | one living spec |

use std::path::{Component, Path};

use serde_json::Value;
use task_mcp_cache::Tag;

/// Deepest folder of a capability that has a tag; below, everything has changed.
const DEPTH_MAX: usize = 8;

/// Everything below `openspec/`: bumped when nobody can say what has changed.
pub fn everything() -> Tag {
    Tag::new("openspec")
}

pub(super) fn changes() -> Tag {
    Tag::new("changes")
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

/// What an edit has touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Tags that are to be bumped.
    pub tags: Vec<Tag>,
    /// Whether the index of changes may differ now; it moves on before the tags do.
    pub index: bool,
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
    let (tags, index) = match names.as_deref() {
        Some([".task-mcp", "locks", lock]) => (lock.strip_suffix(".json").map(change).into_iter().collect(), false),
        Some([".task-mcp", ..]) => (Vec::new(), false),
        Some(["changes", "archive", archived, ..]) => {
            (vec![changes(), change(without_day(archived)), change(archived)], true)
        }
        Some(["changes", slug, ..]) if *slug != "archive" => (vec![changes(), change(slug)], true),
        Some(["specs", folders @ ..]) if (1..=DEPTH_MAX).contains(&folders.len()) => {
            let capability = |depth| folders.get(..depth).unwrap_or_default().join("/");
            let specs_of = (1..=folders.len()).map(|depth| Tag::new(&format!("spec:{}", capability(depth))));
            (specs_of.chain([specs()]).collect(), true)
        }
        _ => (vec![everything()], true),
    };
    Touched { tags, index }
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
            let Touched { tags, index } = touched(Path::new(path));
            let names: Vec<String> = tags.iter().map(|tag| tag.as_str().to_owned()).collect();
            (names.join(" "), index)
        };
        for (path, expected) in [
            ("changes/add-x", "changes change:add-x"),
            ("changes/add-x/specs/accounts/spec.md", "changes change:add-x"),
            ("changes/archive/2026-01-31-add-x/tasks.md", "changes change:add-x change:2026-01-31-add-x"),
            ("specs/accounts/spec.md", "spec:accounts spec:accounts/spec.md specs"),
            ("changes", "openspec"),
            ("changes/archive", "openspec"),
            ("specs", "openspec"),
            ("specs/1/2/3/4/5/6/7/8/9", "openspec"),
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
    fn the_tags_of_all_results_have_cells_of_their_own() {
        // `tree` is the epoch of the index, which every write moves on.
        let cells: HashSet<usize> = [everything(), changes(), specs(), Tag::new("tree")].map(|tag| tag.cell()).into();
        assert_eq!(cells.len(), 4);
    }
}

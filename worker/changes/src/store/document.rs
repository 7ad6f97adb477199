//! Documents by name: what a change is made of, and the living specs.

use super::Slug;

/// The id of a capability as the tools accept it: the folders of its spec below `specs/`, joined by `/`.
///
/// 1 to 31 folders (a spec deeper down is never found), 1,024 bytes in all; no folder begins with a dot, as discovery passes over
/// those, so none is `.` or `..`; no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(Box<str>);

/// Most bytes of an id; a path of the system has room for four times as many.
const BYTES_MAX: usize = 1024;

/// Most folders of an id: one less than folders are followed deep (`tree`).
const FOLDERS_MAX: usize = 31;

impl Capability {
    /// Checks an id; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let is_folder = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(char::is_control);
        let fits = text.len() <= BYTES_MAX && text.split('/').count() <= FOLDERS_MAX;
        (fits && text.split('/').all(is_folder)).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a document is part of a change as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// `proposal.md`.
    Proposal,
    /// `tasks.md`.
    Tasks,
    /// `design.md`.
    Design,
    /// `specs/<capability>/spec.md`.
    Delta(Capability),
}

/// Names a document. The order is the one in which documents are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentName {
    /// One of a change.
    Change(Slug, Part),
    /// The living spec of a capability.
    Spec(Capability),
}

impl DocumentName {
    /// Where it lies below `openspec/`.
    pub fn path(&self) -> String {
        match self {
            Self::Change(slug, Part::Proposal) => format!("changes/{slug}/proposal.md"),
            Self::Change(slug, Part::Tasks) => format!("changes/{slug}/tasks.md"),
            Self::Change(slug, Part::Design) => format!("changes/{slug}/design.md"),
            Self::Change(slug, Part::Delta(capability)) => {
                format!("changes/{slug}/specs/{}/spec.md", capability.as_str())
            }
            Self::Spec(capability) => format!("specs/{}/spec.md", capability.as_str()),
        }
    }

    /// What lies at a path below `openspec/`; `None` if it is no document of an active change and no living spec.
    pub fn of_path(path: &str) -> Option<Self> {
        let capability = |path: &str| path.strip_suffix("/spec.md").and_then(Capability::parse);
        if let Some(spec) = path.strip_prefix("specs/") {
            return capability(spec).map(Self::Spec);
        }
        let (slug, file) = path.strip_prefix("changes/")?.split_once('/')?;
        let part = match file {
            "proposal.md" => Part::Proposal,
            "tasks.md" => Part::Tasks,
            "design.md" => Part::Design,
            _ => Part::Delta(capability(file.strip_prefix("specs/")?)?),
        };
        Some(Self::Change(Slug::parse(slug).ok()?, part))
    }
}

/// A document in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentEntry {
    /// Its name.
    pub name: DocumentName,
    /// Its size.
    pub size_bytes: u64,
}

/// A document that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub name: DocumentName,
    /// What it says.
    pub text: String,
    /// Hash of its text (blake3, hexadecimal): equal as long as no byte of it has changed.
    pub tag: String,
    /// When it was last written, RFC 3339.
    pub updated_at: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_names_what_lies_there() {
        for path in [
            "changes/add-x/proposal.md",
            "changes/add-x/tasks.md",
            "changes/add-x/design.md",
            "changes/add-x/specs/accounts/spec.md",
            "changes/add-x/specs/area/b c/spec.md",
            "specs/accounts/spec.md",
        ] {
            assert_eq!(DocumentName::of_path(path).unwrap().path(), path);
        }
        for path in [
            "",
            "specs/spec.md",
            "specs//spec.md",
            "specs/../x/spec.md",
            "specs/.hidden/spec.md",
            "specs/a/other.md",
            "changes/add-x",
            "changes/add-x/notes.md",
            "changes/add-x/specs/spec.md",
            "changes/Add_X/tasks.md",
            "changes/archive/tasks.md",
            "changes/archive/2026-01-01-add-x/tasks.md",
            "../changes/add-x/tasks.md",
        ] {
            assert_eq!(DocumentName::of_path(path), None, "{path}");
        }
    }

    #[test]
    fn a_capability_stays_below_its_folder() {
        let long = "a".repeat(BYTES_MAX + 1);
        let deep = ["a"; FOLDERS_MAX + 1].join("/");
        for bad in ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/.b", "a\0b", "a\nb", &long, &deep] {
            assert_eq!(Capability::parse(bad), None, "{bad:?}");
        }
        let deepest = ["a"; FOLDERS_MAX].join("/");
        for good in ["accounts", "area/accounts", "a b", "ä%2F", &deepest] {
            assert_eq!(Capability::parse(good).unwrap().as_str(), good);
        }
    }
}

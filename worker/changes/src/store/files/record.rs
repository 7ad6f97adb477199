//! The journal as it is written, and whether one that was found may be acted on.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::is_archive_of;
use super::journal::RECEIPT;
use crate::store::Slug;

pub(super) const FORMAT: u32 = 2;

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    pub(super) format: u32,
    /// The root it was written for.
    pub(super) root: String,
    /// Inode of `openspec/`. No clone can know it; the device is left out, since its number may change with a restart.
    pub(super) inode: u64,
    /// The nonce in the archive lock.
    pub(super) nonce: String,
    pub(super) slug: String,
    pub(super) archived_as: String,
    pub(super) files: Vec<Entry>,
}

/// A file the archive writes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Relative to the root.
    pub(super) path: String,
    /// Its text before; none if it did not exist.
    pub(super) before: Option<String>,
    /// Hash of its text after; none if it is deleted.
    pub(super) after: Option<String>,
}

impl Journal {
    /// Whether it was written for this `openspec/` and names only files an archive writes.
    pub(super) fn check(&self, inode: u64) -> Result<Slug, String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, not {FORMAT}", self.format));
        }
        if self.inode != inode {
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

//! Archiving a change, step by step, with the checks and words of `openspec archive`.
//!
//! The CLI and the tool call the same steps in the same order; they differ in what they ask and print between them.

mod commit;
mod failure;
mod retire;
mod updates;

pub(crate) use commit::{Commit, LOCK_FILE};
pub(crate) use failure::{Busy, Failure, node_words};
pub(crate) use updates::{SpecUpdate, merge_all, vet};

use std::fs;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use jiff::civil::Date;
use regex::Regex;

use crate::text::pattern;
use crate::tree::Tree;
use crate::validate::{ChangeFiles, deltas_alone, is_valid};

/// Refuses names that are no folder directly below `changes/`.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let invalid = |message: String| Err(Failure::new("archive_change_name_invalid", message));
    if name == "." || name == ".." {
        return invalid(format!("Change name must not be '{name}'"));
    }
    if name.contains(['/', '\\']) {
        return invalid("Change name must not contain path separators".to_owned());
    }
    if name.contains('\0') {
        return invalid("Change name must not contain null bytes".to_owned());
    }
    Ok(())
}

/// Finds the change and refuses what must not be moved, and a tree one of whose folders leads out of the root.
pub(crate) fn locate(tree: &Tree, name: &str) -> Result<(), Failure> {
    check_name(name)?;
    let (changes, archive, specs) = (tree.changes(), tree.archive(), tree.specs());
    if let Some(dir) = [&changes, &specs].into_iter().find(|dir| !tree.contains(dir)) {
        return Err(Failure::outside(dir));
    }
    let leaves = |dir: &Path| match (fs::canonicalize(dir), fs::canonicalize(&changes)) {
        (Ok(real), Ok(changes)) => !real.starts_with(changes),
        _ => dir.is_symlink(),
    };
    if leaves(&archive) {
        return Err(Failure::outside(&archive));
    }
    match fs::symlink_metadata(tree.change(name)) {
        Ok(meta) if meta.is_symlink() => {
            let message =
                format!("Change '{name}' is a symbolic link. Replace it with a real directory before archiving.");
            return Err(Failure::new("archive_change_symlink", message));
        }
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(not_found(tree, name)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(not_found(tree, name));
        }
        Err(error) => return Err(error.into()),
    }
    if let Some(nested) = tree.nested(name)? {
        let message = format!("Cannot archive '{name}': {}", nested.message());
        return Err(Failure::new("archive_change_is_namespace_folder", message).with_fix(nested.fix()));
    }
    Ok(())
}

/// Checks the delta specs, if archiving checks them at all.
pub(crate) fn check_deltas(files: &ChangeFiles) -> Result<(), Failure> {
    if !files.archive_checks_deltas() {
        return Ok(());
    }
    let issues = deltas_alone(files);
    if is_valid(&issues) { Ok(()) } else { Err(Failure::validation(&files.name, issues)) }
}

/// The archive's folder name; creates `changes/archive` and refuses a name that is taken.
pub(crate) fn destination(tree: &Tree, name: &str, today: Date) -> Result<String, Failure> {
    static DATED: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\d{4}-\d{2}-\d{2}-"));
    let archived = if DATED.is_match(name) { name.to_owned() } else { format!("{today}-{name}") };
    if !tree.contains(&tree.archive()) {
        return Err(Failure::outside(&tree.archive()));
    }
    fs::create_dir_all(tree.archive())?;
    if fs::symlink_metadata(tree.archive().join(&archived)).is_ok() {
        return Err(Failure::new("archive_target_exists", format!("Archive '{archived}' already exists.")));
    }
    Ok(archived)
}

fn not_found(tree: &Tree, name: &str) -> Failure {
    let names = tree.change_names().unwrap_or_default();
    let rest = if names.is_empty() {
        "No active changes exist in this root.".to_owned()
    } else {
        format!("Available changes: {}", names.join(", "))
    };
    Failure::new("archive_change_not_found", format!("Change '{name}' not found. {rest}"))
}

//! The main specs an archive will write.

use std::path::PathBuf;

use super::Failure;
use super::retire;
use crate::delta::Delta;
use crate::merge::{Input, Merged, merge};
use crate::metadata::Metadata;
use crate::tree::Tree;
use crate::validate::{ChangeFiles, is_valid, spec};

/// One main spec and what becomes of it.
#[derive(Debug)]
pub(crate) struct SpecUpdate {
    pub(crate) capability: String,
    /// The main spec.
    pub(crate) path: PathBuf,
    /// The same, relative to the root.
    pub(crate) relative: String,
    /// What was merged into: the main spec as it was read, none if there was none.
    pub(crate) before: Option<String>,
    pub(crate) merged: Merged,
    /// The capability is deleted: its last requirement went, and the change says so.
    pub(crate) retire: bool,
}

impl SpecUpdate {
    /// Whether a file is written or deleted.
    pub(crate) fn changes_file(&self) -> bool {
        !self.merged.counts.is_zero()
    }
}

/// Merges every delta spec of a change, in order of capability.
pub(crate) fn merge_all(tree: &Tree, files: &ChangeFiles) -> Result<Vec<SpecUpdate>, Failure> {
    let one = |file: &crate::validate::DeltaFile| {
        let path = tree.specs().join(&file.capability).join("spec.md");
        if !tree.contains(&path) {
            return Err(Failure::outside(&path));
        }
        let delta = Delta::parse(&file.text);
        if let Some(error) = file.target_error.as_ref().filter(|_| !delta.is_empty()) {
            return Err(Failure::update(error.clone()));
        }
        let input = Input {
            capability: &file.capability,
            change: &files.name,
            target: file.target.as_deref(),
            target_path: &file.target_path,
        };
        let merged = merge(input, &delta).map_err(|refused| Failure::update(refused.0))?;
        let relative = tree.relative(&path);
        Ok(SpecUpdate {
            capability: file.capability.clone(),
            path,
            relative,
            before: file.target.clone(),
            merged,
            retire: false,
        })
    };
    files.deltas.iter().map(one).collect()
}

/// Checks every rebuilt spec, also those in sync; marks those to retire.
pub(crate) fn vet(updates: &mut [SpecUpdate], metadata: &Metadata) -> Result<(), Failure> {
    for update in updates {
        let issues = spec(&update.merged.text);
        if is_valid(&issues) {
            continue;
        }
        match retire::decide(update, &issues, metadata) {
            retire::Decision::Retire => update.retire = true,
            retire::Decision::Skip => {}
            retire::Decision::Refuse(hint) => return Err(Failure::rebuilt(&update.capability, issues, hint)),
        }
    }
    Ok(())
}

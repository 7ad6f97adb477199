//! Which documents there are, and reading one.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Core, FilesStore, Place};
use crate::error::ChangesError;
use crate::store::{Document, DocumentEntry, DocumentName};
use crate::text::iso_ms;
use crate::tree::{Reader, Tree, mtime_ms, survey};

/// Documents the index holds for each change it may hold. A change has a handful; more is a tree gone wrong.
const DOCUMENTS_PER_CHANGE: usize = 100;

/// A part of a tree that documents lie in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// The folder of that name below `changes/`.
    Change(String),
    /// The living specs.
    Specs,
}

/// The documents in a part of the tree below `root`, sorted; none where nothing can be read. For whoever watches which there are.
pub fn document_names(root: &Path, area: &Area) -> Vec<DocumentName> {
    // Nothing is opened, so no limit applies.
    let tree = Tree::new(root, Reader::tools(0));
    let mut entries = match area {
        Area::Change(name) => of_change(&tree, name).map(|(_, documents)| documents).unwrap_or_default(),
        Area::Specs => specs(&tree),
    };
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries.into_iter().map(|entry| entry.name).collect()
}

/// When anything in the folder of a change was last edited, in milliseconds since the epoch, and its documents in no order.
pub(super) fn of_change(tree: &Tree, name: &str) -> io::Result<(i64, Vec<DocumentEntry>)> {
    let mut documents = Vec::new();
    let openspec = tree.openspec();
    let updated_ms = survey(&tree.change(name), |path, meta| documents.extend(entry(&openspec, path, meta)))?;
    Ok((updated_ms, documents))
}

/// The living specs. What cannot be read is left out: it must hide no change.
pub(super) fn specs(tree: &Tree) -> Vec<DocumentEntry> {
    let openspec = tree.openspec();
    let found = tree.spec_files(&tree.specs()).unwrap_or_else(|error| {
        tracing::debug!(%error, "The living specs are left out of the list.");
        Vec::new()
    });
    let plain = |path: &Path| fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file);
    found.iter().filter_map(|(_, path)| entry(&openspec, path, &plain(path)?)).collect()
}

fn entry(openspec: &Path, path: &Path, meta: &fs::Metadata) -> Option<DocumentEntry> {
    let name = DocumentName::of_path(path.strip_prefix(openspec).ok()?.to_str()?)?;
    Some(DocumentEntry { name, size_bytes: meta.len() })
}

impl FilesStore {
    pub(super) async fn listed_documents(&self) -> Result<Arc<[DocumentEntry]>, ChangesError> {
        let snapshot = self.snapshot().await?;
        let limit = self.core.documents_max();
        snapshot.documents.clone().map_err(|found| ChangesError::TooManyDocuments { found, limit })
    }
}

impl Core {
    pub(super) fn documents_max(&self) -> usize {
        self.options.changes.saturating_mul(DOCUMENTS_PER_CHANGE)
    }

    pub(super) fn document(&self, name: &DocumentName) -> Result<Document, ChangesError> {
        self.contained()?;
        if let DocumentName::Change(slug, _) = name {
            match self.place(slug)? {
                Place::Active => {}
                Place::Archived(archived_as) => {
                    return Err(ChangesError::Archived { slug: slug.to_string(), archived_as });
                }
                Place::Nowhere => return Err(self.absent(slug)),
            }
        }
        // `changes/` and `specs/` may be links that stay inside the root; below them, nothing may.
        let path = name.path();
        let (base, below) = path.split_once('/').unwrap_or_default();
        let read = self.tree.reader().read_below(&self.tree.openspec().join(base), below);
        let (text, meta) = read
            .map_err(self.file_error("reading the document"))?
            .ok_or_else(|| ChangesError::NoDocument { path: format!("openspec/{path}") })?;
        let tag = blake3::hash(text.as_bytes()).to_hex().to_string();
        Ok(Document { name: name.clone(), text, tag, updated_at: iso_ms(mtime_ms(&meta)) })
    }
}

//! Scanning the tree for the list of active changes.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::Core;
use super::documents::{of_change, specs};
use super::proposal::Proposal;
use crate::error::ChangesError;
use crate::metadata::created;
use crate::store::{DocumentEntry, Item, ItemPaths};
use crate::tasks::count;
use crate::text::iso_ms;
use crate::tree::{FileError, METADATA, PROPOSAL, TASKS, mtime_ms};

/// A file changed so shortly before it was read may change again without its times showing it (git's racy entries).
const RACY_NS: i128 = 2_000_000_000;

/// The active changes as of an epoch, newest first, ties by slug.
pub(super) struct Snapshot {
    pub(super) epoch: u64,
    pub(super) items: Vec<Arc<Item>>,
    /// In the order of their names; how many there are if that is too many.
    pub(super) documents: Result<Arc<[DocumentEntry]>, usize>,
    /// What the items were read from, by folder name.
    sources: HashMap<String, Source>,
}

/// One change as it was read.
#[derive(Clone)]
struct Source {
    item: Arc<Item>,
    documents: Vec<DocumentEntry>,
    updated_ms: i64,
    stamps: [Option<Stamp>; 3],
    read_ns: i128,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    mtime_ns: i128,
    ctime_ns: i128,
    size: u64,
    inode: u64,
}

/// Scans `changes/`. Entries whose files are provably the same are taken from `previous` without reading them.
pub(super) fn scan(core: &Core, epoch: u64, previous: Option<&Snapshot>) -> Result<Snapshot, ChangesError> {
    let read_ns = core.clock.now().as_nanosecond();
    // A tree that went away, as with a volume that is no longer mounted, must not pass for one without changes.
    if !core.tree.openspec().is_dir() {
        return Err(ChangesError::NoTree);
    }
    core.contained()?;
    let mut names = core.tree.change_names().map_err(ChangesError::io("reading the list of changes"))?;
    names.retain(|name| !name.starts_with('.'));
    let limit = core.options.changes;
    if names.len() > limit {
        return Err(ChangesError::TooMany { found: names.len(), limit });
    }
    let mut sources = HashMap::with_capacity(names.len());
    for name in names {
        let known = previous.and_then(|snapshot| snapshot.sources.get(&name));
        match source(core, &name, known, read_ns) {
            Ok(source) => drop(sources.insert(name, source)),
            // Archived while the list was made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ChangesError::io("reading a change")(error)),
        }
    }
    let mut sorted: Vec<&Source> = sources.values().collect();
    sorted.sort_by(|a, b| b.updated_ms.cmp(&a.updated_ms).then_with(|| a.item.slug.cmp(&b.item.slug)));
    let items = sorted.iter().map(|source| Arc::clone(&source.item)).collect();
    let of_changes = sorted.into_iter().flat_map(|source| source.documents.iter().cloned());
    let mut documents: Vec<DocumentEntry> = of_changes.chain(specs(&core.tree)).collect();
    documents.sort_by(|a, b| a.name.cmp(&b.name));
    let fits = documents.len() <= core.documents_max();
    let documents = if fits { Ok(documents.into()) } else { Err(documents.len()) };
    Ok(Snapshot { epoch, items, documents, sources })
}

fn source(core: &Core, name: &str, known: Option<&Source>, read_ns: i128) -> io::Result<Source> {
    let dir = core.tree.change(name);
    let stamps = [PROPOSAL, TASKS, METADATA].map(|file| stamp(&dir.join(file)));
    // A folder that cannot be read must not hide the others: it is listed with what is known of it.
    let surveyed = of_change(&core.tree, name);
    let (updated_ms, documents) = surveyed.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Err(error),
        _ => fs::symlink_metadata(&dir).map(|meta| (mtime_ms(&meta), Vec::new())),
    })?;
    if let Some(known) = known.filter(|known| known.is_clean(&stamps, updated_ms)) {
        return Ok(Source { documents, ..known.clone() });
    }
    // A document that cannot be read must not hide the other changes; `change.show` says what is wrong with it.
    let text = |file: &str| {
        core.tree.reader().read_if_there(&dir.join(file)).or_else(|error| match error {
            FileError::Io(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            error => {
                tracing::debug!(change = name, file, %error, "A document is left out of the list.");
                Ok(None)
            }
        })
    };
    let proposal = Proposal::read(text(PROPOSAL)?.as_deref().unwrap_or_default());
    let created = text(METADATA)?.and_then(|text| created(&text)).or(proposal.date);
    let item = Item {
        title: proposal.title.unwrap_or_else(|| name.to_owned()),
        slug: name.to_owned(),
        status: "draft",
        paths: ItemPaths { root: core.tree.relative(&dir) },
        updated_at: iso_ms(updated_ms),
        created_at: created.map(|day| format!("{day}T00:00:00.000Z")),
        template: proposal.template,
        owner: proposal.owner,
        tasks: count(text(TASKS)?.as_deref().unwrap_or_default()),
    };
    Ok(Source { item: Arc::new(item), documents, updated_ms, stamps, read_ns })
}

impl Source {
    fn is_clean(&self, stamps: &[Option<Stamp>; 3], updated_ms: i64) -> bool {
        let settled = |s: &Stamp| s.mtime_ns.max(s.ctime_ns) + RACY_NS < self.read_ns;
        self.stamps == *stamps && self.updated_ms == updated_ms && self.stamps.iter().flatten().all(settled)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::symlink_metadata(path).ok()?;
    let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
    Some(Stamp {
        mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
        ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
        size: meta.size(),
        inode: meta.ino(),
    })
}

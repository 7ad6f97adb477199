//! The store over an `openspec/` tree, which people, editors and the OpenSpec CLI may use at the same time.
//!
//! - `active`, `index`, `pages`: the list, from an index in memory
//! - `documents`: which documents there are, and reading one
//! - `show`, `open`, `archive`: one tool each
//! - `lock`, `guard`: who may write; `private`: our own folder; `claim`: the CLI's archive lock
//! - `journal`, `record`: finishing or undoing what a killed process began
//! - `proposal`, `templates`: reading and writing the documents of a change; `near`: what a wrong slug may have meant

mod active;
mod archive;
mod claim;
mod documents;
mod guard;
mod index;
mod journal;
mod lock;
mod near;
mod open;
mod pages;
mod private;
mod proposal;
mod record;
mod show;
mod templates;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::oneshot;

use self::active::Index;
pub use self::documents::{Area, document_names};
use self::near::nearest;
use super::{
    ActivePage, ActiveQuery, ArchiveRequest, ArchivedChange, BoxFuture, ChangeDetails, Document, DocumentEntry,
    DocumentName, OpenRequest, OpenedChange, Slug, Store,
};
use crate::archive::{Busy, Failure};
use crate::clock::{Clock, SystemClock};
use crate::error::ChangesError;
use crate::ports::{EpochSource, Offload};
use crate::tree::{FileError, Reader, Tree};

/// Limits of a store.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Largest document in bytes (`store.document_bytes`).
    pub document_bytes: u64,
    /// Most active changes an index holds (`store.changes`).
    pub changes: usize,
}

/// The files store. Work that touches the disk runs on the pool; a fresh list is answered on the spot.
pub struct FilesStore {
    core: Arc<Core>,
    offload: Arc<dyn Offload>,
}

/// What the jobs work with.
struct Core {
    tree: Tree,
    id: String,
    options: StoreOptions,
    epochs: Arc<dyn EpochSource>,
    clock: Arc<dyn Clock>,
    index: Index,
    /// Whether the log has an archive lock that looks left behind.
    claim_logged: AtomicBool,
}

impl FilesStore {
    /// Opens the tree below `root` and finishes or undoes what a killed process left there.
    ///
    /// # Errors
    /// [`ChangesError::NoTree`] without `openspec/`; [`ChangesError::Io`] if the root cannot be read.
    pub fn open(
        root: &Path,
        options: StoreOptions,
        epochs: Arc<dyn EpochSource>,
        offload: Arc<dyn Offload>,
    ) -> Result<Self, ChangesError> {
        Self::with_clock(root, options, epochs, offload, Arc::new(SystemClock))
    }

    /// The same with a clock of the caller's.
    ///
    /// # Errors
    /// As [`FilesStore::open`].
    pub fn with_clock(
        root: &Path,
        options: StoreOptions,
        epochs: Arc<dyn EpochSource>,
        offload: Arc<dyn Offload>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ChangesError> {
        let root = fs::canonicalize(root).map_err(ChangesError::io("reading the store's root"))?;
        let tree = Tree::new(&root, Reader::tools(options.document_bytes));
        if !tree.openspec().is_dir() {
            return Err(ChangesError::NoTree);
        }
        let id = format!("files:{}", root.display());
        let core =
            Core { tree, id, options, epochs, clock, index: Index::default(), claim_logged: AtomicBool::new(false) };
        core.contained()?;
        core.recover_if_idle();
        Ok(Self { core: Arc::new(core), offload })
    }

    /// Runs a job on the pool. It ends even if the caller does not wait.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Core) -> Result<T, ChangesError> + Send + 'static,
    ) -> Result<T, ChangesError> {
        let (answer, waiting) = oneshot::channel();
        let core = Arc::clone(&self.core);
        let job = Box::new(move || drop(answer.send(job(&core))));
        self.offload.submit(job).map_err(|_| ChangesError::Overloaded)?;
        waiting.await.unwrap_or(Err(ChangesError::Lost))
    }
}

impl Store for FilesStore {
    fn id(&self) -> &str {
        &self.core.id
    }

    fn active(&self, query: ActiveQuery) -> BoxFuture<'_, Result<ActivePage, ChangesError>> {
        Box::pin(self.active_page(query))
    }

    fn show(&self, slug: &Slug) -> BoxFuture<'_, Result<ChangeDetails, ChangesError>> {
        let slug = slug.clone();
        Box::pin(self.run(move |core| core.show(&slug)))
    }

    fn documents(&self) -> BoxFuture<'_, Result<Arc<[DocumentEntry]>, ChangesError>> {
        Box::pin(self.listed_documents())
    }

    fn document(&self, name: &DocumentName) -> BoxFuture<'_, Result<Document, ChangesError>> {
        let name = name.clone();
        Box::pin(self.run(move |core| core.document(&name)))
    }

    fn open(&self, request: OpenRequest) -> BoxFuture<'_, Result<OpenedChange, ChangesError>> {
        Box::pin(self.run(move |core| core.open(&request)))
    }

    fn archive(&self, request: ArchiveRequest) -> BoxFuture<'_, Result<ArchivedChange, ChangesError>> {
        Box::pin(self.run(move |core| core.archive(&request)))
    }
}

/// Where the folder of a slug is.
enum Place {
    Active,
    /// The folder below `changes/archive/`.
    Archived(String),
    Nowhere,
}

impl Core {
    /// Finds the folder of a slug and refuses links.
    fn place(&self, slug: &Slug) -> Result<Place, ChangesError> {
        self.contained()?;
        let dir = self.tree.change(slug.as_str());
        match fs::symlink_metadata(&dir) {
            Ok(meta) if meta.is_dir() && self.tree.contains(&dir) => return Ok(Place::Active),
            Ok(_) => return Err(ChangesError::Escape { path: self.tree.relative(&dir) }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(ChangesError::io("looking for the change")(error)),
        }
        Ok(self.archived_as(slug)?.map_or(Place::Nowhere, Place::Archived))
    }

    /// The newest archive of a slug: `<date>-<slug>`, or the slug itself. Such a name may also be that of another change
    /// (`2026-01-01-foo` is a slug too); then the receipt tells.
    fn archived_as(&self, slug: &Slug) -> Result<Option<String>, ChangesError> {
        let entries = match fs::read_dir(self.tree.archive()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ChangesError::io("reading the archive")(error)),
        };
        let dirs = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let names = dirs.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| is_archive_of(name, slug)).collect();
        names.sort();
        let holds = |name: &String| self.read_receipt(name).is_none_or(|receipt| receipt.slug == slug.as_str());
        Ok(names.into_iter().rev().find(holds))
    }

    /// What to say of a slug that is no active change.
    fn absent(&self, slug: &Slug) -> ChangesError {
        let names = self.tree.change_names().unwrap_or_default();
        ChangesError::NoChange { slug: slug.to_string(), near: nearest(slug.as_str(), names) }
    }

    fn file_error(&self, step: &'static str) -> impl Fn(FileError) -> ChangesError + '_ {
        move |error| match error {
            FileError::Io(source) => ChangesError::Io { step, source },
            FileError::TooLarge { path, limit_bytes } => {
                ChangesError::TooLarge { path: self.tree.relative(&path), limit_bytes }
            }
            FileError::NotUtf8 { path } => ChangesError::NotUtf8 { path: self.tree.relative(&path) },
            FileError::Link { path } => ChangesError::Escape { path: self.tree.relative(&path) },
            FileError::TooDeep { path } => ChangesError::Refused {
                cli_code: "folders_too_deep",
                message: format!("{} lies too many folders deep", self.tree.relative(&path)),
                fix: Some("Move it up, or remove it.".to_owned()),
                issues: Vec::new(),
            },
        }
    }

    /// The outward form of the CLI's refusals.
    fn failure(&self, slug: &Slug) -> impl Fn(Failure) -> ChangesError + '_ {
        let slug = slug.clone();
        move |Failure { code, message, fix, more }| {
            if let Some(source) = more.source {
                return self.file_error("archiving")(source);
            }
            match more.busy {
                Some(Busy::Claimed) => return self.claimed(),
                Some(Busy::Changed(path)) => {
                    let path = self.tree.relative(&path);
                    let message = format!("{path} changed while it was merged; try again");
                    return ChangesError::Busy { message, path: Some(path), fix: None };
                }
                None => {}
            }
            if let Some(path) = more.outside {
                return ChangesError::Escape { path: self.tree.relative(&path) };
            }
            match code {
                "archive_change_not_found" => self.absent(&slug),
                "archive_change_symlink" => {
                    ChangesError::Escape { path: self.tree.relative(&self.tree.change(slug.as_str())) }
                }
                _ => ChangesError::Refused {
                    cli_code: code,
                    message,
                    fix,
                    issues: more.issues.into_iter().map(|issue| (issue.level.word(), issue.message)).collect(),
                },
            }
        }
    }
}

/// Whether an archive folder of this name may hold the change: `<date>-<slug>`, or the slug itself.
fn is_archive_of(name: &str, slug: &Slug) -> bool {
    let date = name.strip_suffix(slug.as_str()).and_then(|date| date.strip_suffix('-'));
    name == slug.as_str() || date.is_some_and(|date| date.parse::<jiff::civil::Date>().is_ok())
}

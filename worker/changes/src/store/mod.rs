//! Stores of changes: the contract, its types, and the files implementation.

mod document;
mod files;
mod slug;
mod token;
mod types;
mod uri;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use document::{Capability, Document, DocumentEntry, DocumentName, Part};
pub use files::{Area, FilesStore, StoreOptions, document_names};
pub use slug::Slug;
pub use types::{
    ActivePage, ActiveQuery, ArchiveRequest, ArchivedChange, ChangeDetails, DeltaEntry, DocumentHandle, DocumentPaths,
    Item, ItemPaths, LockView, OpenRequest, OpenTasks, OpenedChange, Receipt, ReceiptTests, RenameView, Template,
    ToolVersions, Totals,
};

use crate::error::ChangesError;

/// A future on the heap, so that stores are object safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where changes live. All implementations pass one contract test suite.
///
/// Every write moves the epoch on after its last effect and before its answer, also when it failed half-way. A write
/// that has begun ends even if its caller is gone.
pub trait Store: Send + Sync + 'static {
    /// Names the store in cache keys: equal for all processes on the same data, and free of secrets.
    fn id(&self) -> &str;

    /// A page of active changes, newest first.
    fn active(&self, query: ActiveQuery) -> BoxFuture<'_, Result<ActivePage, ChangesError>>;

    /// One active change.
    fn show(&self, slug: &Slug) -> BoxFuture<'_, Result<ChangeDetails, ChangesError>>;

    /// The documents of all active changes and the living specs, in the order of their names.
    fn documents(&self) -> BoxFuture<'_, Result<Arc<[DocumentEntry]>, ChangesError>>;

    /// One document of an active change, or a living spec.
    fn document(&self, name: &DocumentName) -> BoxFuture<'_, Result<Document, ChangesError>>;

    /// Creates or resumes a change and takes its lock.
    fn open(&self, request: OpenRequest) -> BoxFuture<'_, Result<OpenedChange, ChangesError>>;

    /// Merges a change into the living specs and moves it to the archive.
    fn archive(&self, request: ArchiveRequest) -> BoxFuture<'_, Result<ArchivedChange, ChangesError>>;
}

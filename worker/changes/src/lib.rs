//! The OpenSpec domain and its stores: what a change is, how it is checked and merged, and where it lies.
//!
//! # Layout
//! - `text/`: JavaScript's string semantics, code fences, names of requirements
//! - `delta`, `spec`, `tasks`, `metadata`: reading a delta spec, a main spec, a task list, `.openspec.yaml`
//! - `merge/`: one delta into one main spec; `validate/`: the checks of `openspec validate`
//! - `tree/`: an `openspec/` folder on disk: finding, reading and replacing files
//! - `archive/`: the steps of archiving a change, shared by command and tool
//! - `cli/`: `openspec list` and `openspec archive` without Node
//! - `store/`: the contract for the tools, its types, and the files implementation
//! - `ports`: what a store needs from its process; `clock`; `error`
//!
//! # Invariants
//! - `text`, `delta`, `spec`, `merge`, `validate/{body,delta,spec}` and `tasks` do no IO.
//! - What a file says never panics anything here; the limits are in bytes (`StoreOptions`) and in depth (`tree`).
//! - Commands write exactly what the OpenSpec CLI writes. Receipts, locks and the journal belong to the tools.
//! - Specs are written by rename and put back on failure; the folder of a change moves last.
//! - The tools follow no link and print no absolute path; a slug is checked once, by its type.
//! - A store's write moves the epoch on after its last effect and before its answer, also when it failed.
//! - This crate knows nothing of HTTP, MCP, caches or processes.

mod archive;
pub mod cli;
mod clock;
pub mod delta;
mod error;
pub mod merge;
pub mod metadata;
mod ports;
pub mod spec;
mod store;
pub mod tasks;
mod text;
mod tree;
pub mod validate;

pub use clock::{Clock, SystemClock};
pub use error::ChangesError;
pub use ports::{EpochSource, Offload, OffloadFull};
pub use store::{
    ActivePage, ActiveQuery, ArchiveRequest, ArchivedChange, Area, BoxFuture, Capability, ChangeDetails, DeltaEntry,
    Document, DocumentEntry, DocumentHandle, DocumentName, DocumentPaths, FilesStore, Item, ItemPaths, LockView,
    OpenRequest, OpenTasks, OpenedChange, Part, Receipt, ReceiptTests, RenameView, Slug, Store, StoreOptions, Template,
    ToolVersions, Totals, document_names,
};

//! The contract every store keeps, and what the files store keeps besides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

mod command;
mod contract;
mod documents;
mod files;
mod guarded;
mod hostile;
mod index;
mod interrupted;
mod killed;
mod world;

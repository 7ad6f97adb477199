//! The contract every store keeps, and what the files store keeps besides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

mod contract;
mod files;
mod index;
mod interrupted;
mod world;

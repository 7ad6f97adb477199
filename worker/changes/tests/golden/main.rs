//! The recorded reports of the OpenSpec CLI (`tests/golden/cases`), compared. The package `task-mcp` replays the recorded runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

#[path = "../../../../tests/golden/harness/mod.rs"]
mod harness;
mod reports;

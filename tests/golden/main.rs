//! The recorded behaviour of the OpenSpec CLI (`cases`), replayed by the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

mod harness;
mod replay;

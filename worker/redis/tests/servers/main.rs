//! What the connection promises, on real servers and on servers that lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

mod alone;
mod cluster;
mod fake;
mod lies;
mod log;
mod secured;
mod sentinel;
mod subscription;
mod world;

//! The promises of `load`, one module each.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// Arbitrary input never panics.
mod arbitrary;
/// What values must be together, and what warns.
mod combinations;
/// A directory, an environment and arguments to load from.
mod fixture;
/// Which layer wins, and where a value is said to come from.
mod layers;
/// Everything that is wrong is said at once.
mod problems;
/// No secret leaves through a message, `Debug` or `render`.
mod secrets;

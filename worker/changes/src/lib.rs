//! The OpenSpec domain and its stores.

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

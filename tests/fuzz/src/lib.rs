//! Fuzzing on a stable toolchain: mutations of a kept corpus are fed to what reads the bytes of clients, for a while. Tests only.
//!
//! # Layout
//! - `targets`: what is fed, one file each; `tests/targets.rs` runs them
//! - `fuzz`: the loop; `corpus`: the inputs in `tests/corpus/<target>/`; `mutate`: how an input is changed
//!
//! # A new target
//! 1. A file in `src/targets/` with a [`Target`], and its line in `targets::ALL`.
//! 2. A folder in `tests/corpus/` of that name with at least one input; each is fed as it is, too, so that what once broke stays
//!    mended.
//! 3. A line in `tests/targets.rs`.
//!
//! # How it works
//! `cargo fuzz` needs a nightly compiler to see which branches an input takes. Here a target says in a word what became of an
//! input, and an input with a new word, or one of twice as many with it as before,
//! joins those that are mutated. A run has one seed, which it prints; `TASK_MCP_FUZZ_SEED` repeats it. It takes
//! two seconds, or ten minutes if `TASK_MCP_SOAK` is set. An input that panics is written to `target/fuzz/`; put it into the corpus with
//! the repair.

mod corpus;
mod fuzz;
mod mutate;
pub mod targets;

pub use corpus::inputs;
pub use fuzz::{Report, fuzz};

/// Something that reads bytes of clients.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `tests/corpus/`.
    pub name: &'static str,
    /// Longest input that is made, in bytes: a little more than is accepted.
    pub bytes_max: usize,
    /// What mutations put in, beside bytes at random.
    pub words: &'static [&'static str],
    /// Reads an input and says in a word what became of it. It panics if a promise is broken.
    pub read: fn(&[u8]) -> &'static str,
    /// The words that a run has to come to: without them it tests nothing.
    pub reaches: &'static [&'static str],
}

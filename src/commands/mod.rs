//! One file for each command.

mod call;
mod check;
mod config;
mod openspec;
mod process;
mod serve;

pub(crate) use call::call;
pub(crate) use check::check;
pub(crate) use config::config;
pub(crate) use openspec::openspec;
pub(crate) use process::{admin, worker};
pub(crate) use serve::serve;

use std::io::Write;

/// Prints for people and programs. A closed pipe is the reader's choice, not a failure.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The same on standard error.
pub(crate) fn print_error(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

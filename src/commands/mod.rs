//! One file for each command.

mod cache;
mod call;
mod check;
mod config;
mod ctl;
mod openspec;
mod process;
mod serve;
mod stdio;

pub(crate) use call::call;
pub(crate) use check::check;
pub(crate) use config::config;
pub(crate) use ctl::ctl;
pub(crate) use openspec::openspec;
pub(crate) use process::{admin, worker};
pub(crate) use serve::serve;
pub(crate) use stdio::stdio;

use std::io::{ErrorKind, Write};

use crate::failure::{EX_IOERR, Failure};

/// Prints for people and programs.
///
/// # Errors
/// Exit code 74 if what was to be printed is lost, as on a full disk; a pipe that its reader closed is the reader's choice.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(error).context("the output cannot be written");
            Err(Failure::new(EX_IOERR, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The same on standard error, where nothing is left to tell a failure to.
pub(crate) fn print_error(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

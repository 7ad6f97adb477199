//! `task-mcp openspec`: what the OpenSpec CLI does, byte for byte.

use std::process::ExitCode;

use anyhow::Context;
use task_mcp_changes::cli;

use crate::cli::OpenspecArgs;
use crate::commands::{print, print_error};
use crate::failure::{EX_UNAVAILABLE, Failure};

/// Runs one command of the OpenSpec CLI in the working directory.
pub(crate) fn openspec(arguments: &OpenspecArgs) -> Result<ExitCode, Failure> {
    let cwd = std::env::current_dir()
        .context("the working directory cannot be told; start in a directory that exists")
        .map_err(|error| Failure::new(EX_UNAVAILABLE, error))?;
    let output = cli::run(&arguments.arguments, &cwd, &task_mcp_changes::SystemClock);
    print_error(&output.stderr);
    print(&output.stdout)?;
    Ok(ExitCode::from(u8::try_from(output.exit_code).unwrap_or(u8::MAX)))
}

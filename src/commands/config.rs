//! `task-mcp config`: looking at the settings.

use std::process::ExitCode;

use task_mcp_config::render;

use crate::cli::{ConfigCommand, SourceArgs};
use crate::commands::print;
use crate::failure::Failure;
use crate::settings::load_settings;

/// Prints the settings in force as TOML, secrets redacted.
pub(crate) fn config(sources: &SourceArgs, command: &ConfigCommand) -> Result<ExitCode, Failure> {
    match command {
        ConfigCommand::Show(root) => print(&render(&load_settings(sources, root)?.settings))?,
    }
    Ok(ExitCode::SUCCESS)
}

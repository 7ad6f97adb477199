//! `task-mcp check`: all problems of the settings at once.

use std::process::ExitCode;

use crate::cli::{RootArgs, SourceArgs};
use crate::commands::print;
use crate::failure::Failure;
use crate::settings::load_settings;

/// Loads the settings as `serve` would and tells what it found.
pub(crate) fn check(sources: &SourceArgs, root: &RootArgs) -> Result<ExitCode, Failure> {
    let loaded = load_settings(sources, root)?;
    for warning in &loaded.warnings {
        print(&format!("warning: {warning}\n"))?;
    }
    let from = loaded.file.map_or("no settings file".to_owned(), |file| file.display().to_string());
    print(&format!("The settings are good ({from}).\n"))?;
    Ok(ExitCode::SUCCESS)
}

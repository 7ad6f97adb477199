//! Where settings come from, for every command alike.

use std::path::{Path, PathBuf};

use task_mcp_config::{ConfigError, Loaded, Sources, control_socket, load};

use crate::cli::{RootArgs, SourceArgs};

/// Loads the settings of this process, with `root` as the tree if one is given.
pub(crate) fn load_settings(sources: &SourceArgs, root: &RootArgs) -> Result<Loaded, ConfigError> {
    load_with_root(sources, root.root.as_deref())
}

/// The same for a tree that no argument names.
pub(crate) fn load_with_root(sources: &SourceArgs, root: Option<&Path>) -> Result<Loaded, ConfigError> {
    load(&of_process(sources, root)?)
}

/// Where the control socket of the instance with these settings is, also while they are broken.
pub(crate) fn find_socket(sources: &SourceArgs) -> Result<PathBuf, ConfigError> {
    control_socket(&of_process(sources, None)?)
}

fn of_process(sources: &SourceArgs, root: Option<&Path>) -> Result<Sources, ConfigError> {
    let process = Sources::from_process()?;
    Ok(Sources { config: sources.config.clone(), set: sources.set.clone(), root: root.map(Path::to_owned), ..process })
}

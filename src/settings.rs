//! Where settings come from, for every command alike.

use std::path::Path;

use task_mcp_config::{ConfigError, Loaded, Sources, load};

use crate::cli::{RootArgs, SourceArgs};

/// Loads the settings of this process, with `root` as the tree if one is given.
pub(crate) fn load_settings(sources: &SourceArgs, root: &RootArgs) -> Result<Loaded, ConfigError> {
    load_with_root(sources, root.root.as_deref())
}

/// The same for a tree that no argument names.
pub(crate) fn load_with_root(sources: &SourceArgs, root: Option<&Path>) -> Result<Loaded, ConfigError> {
    let process = Sources::from_process()?;
    load(&Sources {
        config: sources.config.clone(),
        set: sources.set.clone(),
        root: root.map(Path::to_owned),
        ..process
    })
}

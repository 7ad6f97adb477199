//! The sample tree of `serve --demo`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rust_embed::Embed;
use tempfile::TempDir;

/// The shipped files, in the program itself.
#[derive(Embed)]
#[folder = "src/demo/"]
struct Files;

/// Tells a program that goes on with an instance where the sample lies.
const VARIABLE: &str = "TASK_MCP_DEMO_ROOT";

/// A copy of the sample.
#[derive(Debug)]
pub(crate) enum Sample {
    /// Removed when the value is dropped.
    Ours(TempDir),
    /// Of the program before this one, or of one that only asks.
    Found(PathBuf),
}

impl Sample {
    /// Lays a fresh copy, or finds the one of the instance that is handed over.
    ///
    /// # Errors
    /// The temporary folder cannot be written.
    pub(crate) fn lay_or_find(is_handed_over: bool) -> io::Result<Self> {
        match std::env::var_os(VARIABLE).filter(|_| is_handed_over) {
            Some(path) => Ok(Self::Found(path.into())),
            None => lay().map(Self::Ours),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Ours(folder) => folder.path(),
            Self::Found(path) => path,
        }
    }

    /// The variable for the program that may go on with the instance.
    pub(crate) fn variable(&self) -> (OsString, OsString) {
        (VARIABLE.into(), self.path().into())
    }

    /// Removes a copy that was taken over, at the end of the instance.
    pub(crate) fn remove(self) {
        if let Self::Found(path) = &self {
            // What cannot be removed is a temporary folder.
            let _ = fs::remove_dir_all(path);
        }
    }
}

fn lay() -> io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("task-mcp-demo-").tempdir()?;
    for name in Files::iter() {
        let Some(file) = Files::get(&name) else { continue };
        let path = folder.path().join(name.as_ref());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, file.data)?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_complete() {
        let folder = lay().unwrap();
        let changes = folder.path().join("openspec/changes");
        for name in ["add-dunning-notices", "add-passkey-sign-in", "fix-duplicate-shipping-mails"] {
            for file in ["proposal.md", "tasks.md", ".openspec.yaml"] {
                assert!(changes.join(name).join(file).is_file(), "{name}/{file}");
            }
        }
    }
}

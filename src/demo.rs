//! The sample tree of `serve --demo`.

use std::fs;
use std::io;

use rust_embed::Embed;
use tempfile::TempDir;

/// The shipped files, in the program itself.
#[derive(Embed)]
#[folder = "src/demo/"]
struct Sample;

/// Lays a fresh copy of the sample; it is removed when the value is dropped.
///
/// # Errors
/// The temporary folder cannot be written.
pub(crate) fn lay() -> io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("task-mcp-demo-").tempdir()?;
    for name in Sample::iter() {
        let Some(file) = Sample::get(&name) else { continue };
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

//! Writing: whole files by rename, so that a reader never sees half of one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Replaces or creates a file through a temporary one in the same folder.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mode = fs::metadata(path).ok().map(|meta| meta.permissions());
    let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").permissions(default_mode()).tempfile_in(dir)?;
    file.write_all(bytes)?;
    if let Some(mode) = mode {
        file.as_file().set_permissions(mode)?;
    }
    file.as_file().sync_data()?;
    file.persist(path).map_err(|error| error.error)?;
    // The rename itself has to outlive a power cut too.
    File::open(dir)?.sync_all()
}

/// Removes `dir` and its parents up to, not including, `stop`, as long as they are empty.
pub(crate) fn remove_empty_dirs(dir: &Path, stop: &Path) {
    for dir in dir.ancestors().take_while(|dir| dir.starts_with(stop) && *dir != stop) {
        if fs::remove_dir(dir).is_err() {
            return;
        }
    }
}

/// What a plain create would ask for; the process's umask applies.
fn default_mode() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

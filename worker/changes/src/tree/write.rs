//! Writing: whole files by rename, so that a reader never sees half of one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::Tree;

/// Names of temporary files and folders that could not lie in [`Tree::scratch`].
pub(crate) const TEMP_PREFIX: &str = ".task-mcp-";
pub(crate) const TEMP_SUFFIX: &str = ".tmp";

impl Tree {
    /// Replaces or creates a file and waits until it is on disk.
    pub(crate) fn replace_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mode = fs::metadata(path).ok().map(|meta| meta.permissions());
        self.put(path, |mut file| {
            file.write_all(bytes)?;
            if let Some(mode) = &mode {
                file.as_file().set_permissions(mode.clone())?;
            }
            file.as_file().sync_data()?;
            file.persist(path).map_err(|error| error.error)
        })?;
        // The rename itself has to outlive a power cut too.
        File::open(parent(path)?)?.sync_all()
    }

    /// Creates a file whole; `AlreadyExists` if there is something of that name.
    pub(crate) fn create_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.put(path, |mut file| {
            file.write_all(bytes)?;
            file.persist_noclobber(path).map_err(|error| error.error)
        })
    }

    /// The tools' folder for unfinished files; what a killed writer leaves there the next one sweeps. The command leaves
    /// no folder of ours behind and so has none.
    pub(crate) fn scratch(&self) -> Option<PathBuf> {
        self.reader().is_strict().then(|| self.private().join("tmp"))
    }

    /// Hands a temporary file to `finish`: from the scratch folder, or beside the target where that is another file system.
    fn put(&self, path: &Path, finish: impl Fn(NamedTempFile) -> io::Result<File>) -> io::Result<()> {
        let temp = |dir: &Path| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
            // The mode is what a plain create would ask for; the process's umask applies.
            tempfile::Builder::new().prefix(TEMP_PREFIX).suffix(TEMP_SUFFIX).permissions(mode).tempfile_in(dir)
        };
        if let Some(scratch) = self.scratch().filter(|scratch| scratch.is_dir()) {
            match finish(temp(&scratch)?) {
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
                done => return done.map(drop),
            }
        }
        finish(temp(parent(path)?)?).map(drop)
    }
}

/// Removes the temporary files a killed writer left beside its targets in `dir`.
pub(crate) fn sweep_beside(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if is_temporary(&entry.file_name())
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "A temporary file could not be removed.");
        }
    }
}

/// Whether a name is one of our temporary files' or folders'.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.starts_with(TEMP_PREFIX.as_bytes()) && bytes.ends_with(TEMP_SUFFIX.as_bytes())
}

/// Removes `dir` and its parents up to, not including, `stop`, as long as they are empty.
pub(crate) fn remove_empty_dirs(dir: &Path, stop: &Path) {
    for dir in dir.ancestors().take_while(|dir| dir.starts_with(stop) && *dir != stop) {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return,
            _ => {}
        }
    }
}

/// Removes a file that may be missing.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

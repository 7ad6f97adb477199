//! Where the files lie.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// After this time without a write, nobody uses a file of another size any more.
const UNUSED: Duration = Duration::from_secs(600);

/// The directory of the files of an instance, `<runtime_dir>/cache`.
///
/// A file is named `<incarnation of the epochs>-<generation>-<size at most>.mdb`, in hexadecimal digits: nothing from before a
/// restart is ever read, and processes that are told different sizes by a reload, which LMDB does not allow for, use two files.
/// LMDB keeps its locks beside it, with `-lock` at the end.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    incarnation: u64,
    max_bytes: u64,
}

impl Directory {
    pub(super) fn new(runtime_dir: &Path, incarnation: u64, max_bytes: u64) -> Self {
        Self { path: runtime_dir.join("cache"), incarnation, max_bytes }
    }

    /// The path of the file of a generation, in a directory that exists and is private.
    ///
    /// # Errors
    /// Others could read or replace the file, or it is no file: why.
    pub(super) fn file(&self, generation: u64) -> Result<PathBuf, String> {
        let failed = |error: io::Error| format!("{} cannot be used: {error}", self.path.display());
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let found = fs::symlink_metadata(&self.path).map_err(failed)?;
        if let Some(reason) = refused(&found, Metadata::is_dir, "is no directory") {
            return Err(format!("{} {reason}", self.path.display()));
        }
        let path = self.path.join(self.name(generation));
        for name in [path.clone(), lock_of(&path)] {
            match fs::symlink_metadata(&name) {
                Ok(found) => {
                    if let Some(reason) = refused(&found, Metadata::is_file, "is no file") {
                        return Err(format!("{} {reason}", name.display()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(path)
    }

    /// Removes what other incarnations, earlier generations and processes with another `max_bytes` left. Whoever has such a file
    /// open keeps it until it is closed.
    ///
    /// # Errors
    /// The directory cannot be read, or a file cannot be removed.
    pub(super) fn remove_others(&self, generation: u64) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let ours = name.strip_suffix("-lock").unwrap_or(name);
            if ours.ends_with(".mdb") && !self.is_kept(ours, generation) {
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn is_kept(&self, name: &str, generation: u64) -> bool {
        let Some((theirs, max_bytes)) = name.strip_suffix(".mdb").and_then(|name| self.parts(name)) else {
            return false;
        };
        // Processes that have not noticed yet may be about to open the generation before.
        if theirs.saturating_add(1) < generation {
            return false;
        }
        // While a reload goes on, two sizes are in use; the one that is written to no more is over.
        max_bytes == self.max_bytes
            || fs::metadata(self.path.join(name))
                .and_then(|found| found.modified())
                .is_ok_and(|modified| modified.elapsed().unwrap_or_default() < UNUSED)
    }

    /// Generation and size of a file of this incarnation.
    fn parts(&self, name: &str) -> Option<(u64, u64)> {
        let rest = name.strip_prefix(&format!("{:016x}-", self.incarnation))?;
        let (generation, max_bytes) = rest.split_once('-')?;
        Some((u64::from_str_radix(generation, 16).ok()?, u64::from_str_radix(max_bytes, 16).ok()?))
    }

    fn name(&self, generation: u64) -> String {
        format!("{:016x}-{generation:x}-{:x}.mdb", self.incarnation, self.max_bytes)
    }
}

/// The path of LMDB's locks for the file at `path`.
pub(super) fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    name.into()
}

fn refused(found: &Metadata, kind: impl Fn(&Metadata) -> bool, otherwise: &'static str) -> Option<&'static str> {
    if !kind(found) {
        Some(otherwise)
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        Some("belongs to another user")
    } else if found.mode() & 0o077 != 0 {
        Some("is open to other users")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn links_and_what_others_may_enter_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ours = Directory::new(dir.path(), 0xab, 0x1000);
        let path = ours.file(2).unwrap();
        assert_eq!(path, dir.path().join("cache/00000000000000ab-2-1000.mdb"));
        symlink("/etc/passwd", &path).unwrap();
        assert!(ours.file(2).unwrap_err().ends_with("is no file"));
        fs::set_permissions(dir.path().join("cache"), fs::Permissions::from_mode(0o750)).unwrap();
        assert!(ours.file(3).unwrap_err().ends_with("is open to other users"));
        fs::rename(dir.path().join("cache"), dir.path().join("elsewhere")).unwrap();
        symlink(dir.path().join("elsewhere"), dir.path().join("cache")).unwrap();
        assert!(ours.file(3).unwrap_err().ends_with("is no directory"));
        let nowhere = Directory::new(&dir.path().join("nowhere"), 1, 1);
        assert!(nowhere.file(0).unwrap_err().contains("cannot be used"));
    }

    #[test]
    fn only_what_is_over_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let ours = Directory::new(dir.path(), 0xab, 1);
        ours.file(0).unwrap();
        let mut names = [0, 1, 2].map(|generation| ours.name(generation)).to_vec();
        names.extend([Directory::new(dir.path(), 0xcd, 1).name(2), "notes.txt".to_owned()]);
        names.extend(names.clone().iter().take(4).map(|name| format!("{name}-lock")));
        let [used, unused] = [7, 8].map(|max_bytes| Directory::new(dir.path(), 0xab, max_bytes).name(2));
        names.extend([used.clone(), format!("{used}-lock"), unused.clone(), format!("{unused}-lock")]);
        for name in &names {
            fs::write(dir.path().join("cache").join(name), "").unwrap();
        }
        let old = std::time::SystemTime::now() - 2 * UNUSED;
        fs::File::options().write(true).open(dir.path().join("cache").join(unused)).unwrap().set_modified(old).unwrap();
        ours.remove_others(2).unwrap();
        let mut left: Vec<_> = fs::read_dir(dir.path().join("cache"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let (one, two) = (ours.name(1), ours.name(2));
        let (one_lock, two_lock) = (format!("{one}-lock"), format!("{two}-lock"));
        let used_lock = format!("{used}-lock");
        assert_eq!(left, [one, one_lock, two, two_lock, used, used_lock, "notes.txt".to_owned()]);
    }
}

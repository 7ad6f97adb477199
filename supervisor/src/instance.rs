//! The runtime directory and its lock: one instance for each directory.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::SupervisorError;

/// Name of the lock file in the runtime directory; it holds the supervisor's process id.
const LOCK_FILE: &str = "instance.lock";

/// Holds the runtime directory for as long as it lives. The kernel gives the lock back however the process ends; the file
/// stays, for removing it would let two instances lock two files of the same name.
#[derive(Debug)]
pub(crate) struct Instance {
    lock: File,
}

impl Instance {
    /// Makes the directory private if it is missing, checks it, and locks it.
    pub(crate) fn claim(runtime_dir: &Path) -> Result<Self, SupervisorError> {
        let failed = |source| SupervisorError::RuntimeDir { path: runtime_dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(runtime_dir).map_err(failed)?;
        check_private(runtime_dir)?;
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // A link would have its target overwritten, and a pipe would wait for a reader.
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
            .open(runtime_dir.join(LOCK_FILE))
            .map_err(failed)?;
        if !lock.metadata().map_err(failed)?.is_file() {
            let reason = "holds an instance.lock that is no file";
            return Err(SupervisorError::RuntimeDirUnsafe { path: runtime_dir.to_owned(), reason });
        }
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SupervisorError::Locked { path: runtime_dir.to_owned(), pid: holder(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        write_pid(&mut lock).map_err(failed)?;
        Ok(Self { lock })
    }

    /// The instance of a lock that the program before this one handed over; the kernel keeps it with the open file.
    pub(crate) fn restore(lock: OwnedFd) -> Self {
        Self { lock: lock.into() }
    }

    /// The lock, to be handed over.
    pub(crate) fn lock(&self) -> &File {
        &self.lock
    }
}

fn check_private(path: &Path) -> Result<(), SupervisorError> {
    let found =
        path.symlink_metadata().map_err(|source| SupervisorError::RuntimeDir { path: path.to_owned(), source })?;
    let unsafe_dir = |reason| Err(SupervisorError::RuntimeDirUnsafe { path: PathBuf::from(path), reason });
    if !found.is_dir() {
        unsafe_dir("is not a directory")
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        unsafe_dir("belongs to another user")
    } else if found.mode() & 0o022 != 0 {
        unsafe_dir("may be written by its group or by everybody")
    } else {
        Ok(())
    }
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// What the holder wrote; it may be about to.
fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.take(32).read_to_string(&mut text);
    match (read, text.trim()) {
        (Ok(_), pid) if !pid.is_empty() => pid.to_owned(),
        (Ok(_) | Err(_), _) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_instance_is_refused_with_the_pid_of_the_first() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("run");
        let first = Instance::claim(&dir).unwrap();
        assert_eq!(dir.metadata().unwrap().mode() & 0o777, 0o700);
        let error = Instance::claim(&dir).unwrap_err();
        let own = std::process::id().to_string();
        assert!(matches!(&error, SupervisorError::Locked { pid, .. } if *pid == own), "{error}");
        drop(first);
        Instance::claim(&dir).unwrap();
    }

    #[test]
    fn a_lock_that_is_a_link_or_a_pipe_is_refused_and_its_target_kept() {
        let root = tempfile::tempdir().unwrap();
        let (dir, precious) = (root.path().join("run"), root.path().join("precious"));
        drop(Instance::claim(&dir).unwrap());
        std::fs::write(&precious, "kept").unwrap();
        std::fs::remove_file(dir.join(LOCK_FILE)).unwrap();
        std::os::unix::fs::symlink(&precious, dir.join(LOCK_FILE)).unwrap();
        assert!(matches!(Instance::claim(&dir), Err(SupervisorError::RuntimeDir { .. })));
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "kept");
        std::fs::remove_file(dir.join(LOCK_FILE)).unwrap();
        nix::unistd::mkfifo(&dir.join(LOCK_FILE), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(Instance::claim(&dir), Err(SupervisorError::RuntimeDirUnsafe { .. })));
    }

    #[test]
    fn a_directory_others_may_write_or_a_link_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let open = root.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(Instance::claim(&open), Err(SupervisorError::RuntimeDirUnsafe { .. })));
        let link = root.path().join("link");
        std::fs::create_dir(root.path().join("real")).unwrap();
        std::os::unix::fs::symlink(root.path().join("real"), &link).unwrap();
        assert!(matches!(Instance::claim(&link), Err(SupervisorError::RuntimeDirUnsafe { .. })));
    }
}

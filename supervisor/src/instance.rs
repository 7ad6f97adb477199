//! The runtime directory, the state directory and their locks: one instance for each directory.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use task_mcp_config::Settings;
use task_mcp_config::settings::{StateBackend, Supervisor as Directories};

use crate::SupervisorError;

/// Name of the lock file in each of them; it holds the supervisor's process id.
const LOCK_FILE: &str = "instance.lock";

/// Holds the directories of an instance for as long as it lives. The kernel gives the locks back however the process ends; the
/// files stay, for removing one would let two instances lock two files of the same name.
#[derive(Debug)]
pub(crate) struct Instance {
    runtime: File,
    /// State elsewhere needs no directory.
    state: Option<File>,
}

impl Instance {
    /// Makes the directories private if they are missing, checks them, and locks them.
    pub(crate) fn claim(settings: &Settings) -> Result<Self, SupervisorError> {
        let Directories { runtime_dir, state_dir, .. } = &settings.supervisor;
        let runtime = claim("supervisor.runtime_dir", runtime_dir)?;
        let state = match settings.state.backend {
            StateBackend::Embedded => Some(claim("supervisor.state_dir", state_dir)?),
            StateBackend::Redis => None,
        };
        Ok(Self { runtime, state })
    }

    /// The instance of locks that the program before this one handed over; the kernel keeps them with the open files.
    pub(crate) fn restore(runtime: OwnedFd, state: Option<OwnedFd>) -> Self {
        Self { runtime: runtime.into(), state: state.map(File::from) }
    }

    /// The lock of the runtime directory, to be handed over.
    pub(crate) fn runtime(&self) -> &File {
        &self.runtime
    }

    /// The lock of the state directory, likewise.
    pub(crate) fn state(&self) -> Option<&File> {
        self.state.as_ref()
    }
}

/// Makes a directory private if it is missing, checks it, and locks it.
fn claim(setting: &'static str, path: &Path) -> Result<File, SupervisorError> {
    let failed = |source| SupervisorError::Directory { setting, path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    check_private(setting, path)?;
    let mut lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // A link would have its target overwritten, and a pipe would wait for a reader.
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path.join(LOCK_FILE))
        .map_err(failed)?;
    if !lock.metadata().map_err(failed)?.is_file() {
        let reason = "holds an instance.lock that is no file";
        return Err(SupervisorError::DirectoryUnsafe { setting, path: path.to_owned(), reason });
    }
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(SupervisorError::Locked { setting, path: path.to_owned(), pid: holder(&mut lock) });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    write_pid(&mut lock).map_err(failed)?;
    Ok(lock)
}

fn check_private(setting: &'static str, path: &Path) -> Result<(), SupervisorError> {
    let found = path.symlink_metadata().map_err(|source| SupervisorError::Directory {
        setting,
        path: path.to_owned(),
        source,
    })?;
    let unsafe_dir = |reason| Err(SupervisorError::DirectoryUnsafe { setting, path: PathBuf::from(path), reason });
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

    const SETTING: &str = "supervisor.runtime_dir";

    #[test]
    fn a_second_instance_is_refused_with_the_pid_of_the_first() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("run");
        let first = claim(SETTING, &dir).unwrap();
        assert_eq!(dir.metadata().unwrap().mode() & 0o777, 0o700);
        let error = claim(SETTING, &dir).unwrap_err();
        let own = std::process::id().to_string();
        assert!(matches!(&error, SupervisorError::Locked { pid, .. } if *pid == own), "{error}");
        drop(first);
        claim(SETTING, &dir).unwrap();
    }

    #[test]
    fn a_lock_that_is_a_link_or_a_pipe_is_refused_and_its_target_kept() {
        let root = tempfile::tempdir().unwrap();
        let (dir, precious) = (root.path().join("run"), root.path().join("precious"));
        drop(claim(SETTING, &dir).unwrap());
        std::fs::write(&precious, "kept").unwrap();
        std::fs::remove_file(dir.join(LOCK_FILE)).unwrap();
        std::os::unix::fs::symlink(&precious, dir.join(LOCK_FILE)).unwrap();
        assert!(matches!(claim(SETTING, &dir), Err(SupervisorError::Directory { .. })));
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "kept");
        std::fs::remove_file(dir.join(LOCK_FILE)).unwrap();
        nix::unistd::mkfifo(&dir.join(LOCK_FILE), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(claim(SETTING, &dir), Err(SupervisorError::DirectoryUnsafe { .. })));
    }

    #[test]
    fn a_directory_others_may_write_or_a_link_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let open = root.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(claim(SETTING, &open), Err(SupervisorError::DirectoryUnsafe { .. })));
        let link = root.path().join("link");
        std::fs::create_dir(root.path().join("real")).unwrap();
        std::os::unix::fs::symlink(root.path().join("real"), &link).unwrap();
        assert!(matches!(claim(SETTING, &link), Err(SupervisorError::DirectoryUnsafe { .. })));
    }

    #[test]
    fn the_state_directory_belongs_to_one_instance_unless_state_is_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let mut settings: Settings = toml::from_str(task_mcp_config::DEFAULT_TOML).unwrap();
        let mut of = |name: &str, backend| {
            settings.supervisor.runtime_dir = root.path().join(name);
            settings.supervisor.state_dir = root.path().join("state");
            settings.state.backend = backend;
            Instance::claim(&settings)
        };
        let first = of("one", StateBackend::Embedded).unwrap();
        let error = of("two", StateBackend::Embedded).unwrap_err();
        assert!(error.to_string().contains("supervisor.state_dir"), "{error}");
        assert_eq!(error.exit_code(), 69);
        of("two", StateBackend::Redis).unwrap();
        drop(first);
        of("two", StateBackend::Embedded).unwrap();
    }
}

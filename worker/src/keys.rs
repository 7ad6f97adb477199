//! The keys that seal sessions and the states of calls: those of the settings, else one that the instance makes once and keeps in its
//! state directory.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;
use task_mcp_config::Settings;
use task_mcp_config::settings::Secret;
use task_mcp_mcp::sealed::{Keyring, KeyringError, SealError, random_id};

/// The file in `supervisor.state_dir`: one line, which may stand in `auth.sealing_keys` as it is.
const FILE: &str = "sealing.key";
/// Longest file, in bytes: more than any key of the settings.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Permissions of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file may not be trusted.
    #[error(
        "the key in {path:?} {reason}: give it to the user of this server with mode 0600, or remove it for a new one, which ends \
         all sessions; keys of your own go into auth.sealing_keys"
    )]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file cannot be read or made.
    #[error(
        "the key in {path:?} cannot be read or made; supervisor.state_dir names a directory that this user may write"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The keys cannot be used.
    #[error("the keys of auth.sealing_keys cannot be used")]
    Ring(#[from] KeyringError),
    /// The system gives no random numbers.
    #[error("no key can be made")]
    Random(#[source] SealError),
}

impl KeysError {
    /// Whether settings or files have to be corrected.
    pub(crate) fn is_for_the_operator(&self) -> bool {
        match self {
            Self::Unsafe { .. } | Self::Ring(_) => true,
            Self::File { .. } | Self::Random(_) => false,
        }
    }
}

/// The keys in force under these settings. All processes of an instance get the same.
///
/// # Errors
/// The file of the state directory cannot be made, read or trusted.
pub(crate) fn keyring(settings: &Settings) -> Result<Arc<Keyring>, KeysError> {
    let given: Vec<&str> = settings.auth.sealing_keys.iter().map(Secret::expose).collect();
    if !given.is_empty() {
        return Ok(Arc::new(Keyring::new(&given)?));
    }
    of_the_instance(&settings.supervisor.state_dir).map(Arc::new)
}

/// A key that nobody else has, for a process that runs alone: what it seals ends with it.
///
/// # Errors
/// The system gives no random numbers.
pub(crate) fn of_this_process() -> Result<Arc<Keyring>, KeysError> {
    let part = || random_id().map(u128::from_be_bytes).map_err(KeysError::Random);
    Ok(Arc::new(Keyring::new(&[&format!("{:032x}{:032x}", part()?, part()?)])?))
}

/// The instance's own key; it is made if there is none.
fn of_the_instance(state_dir: &Path) -> Result<Keyring, KeysError> {
    let path = state_dir.join(FILE);
    let failed = |source| KeysError::File { path: path.clone(), source };
    let text = match read(&path)? {
        Some(text) => text,
        None => {
            make(state_dir, &path)?;
            // What another process made in the meantime is the one.
            read(&path)?.ok_or_else(|| failed(ErrorKind::NotFound.into()))?
        }
    };
    Keyring::new(&[text.trim()]).map_err(|_| KeysError::Unsafe { path, reason: "has less than 32 bytes" })
}

/// The text of the file, if there is one that nobody else can have read or written.
fn read(path: &Path) -> Result<Option<String>, KeysError> {
    let failed = |source| KeysError::File { path: path.to_owned(), source };
    let not_safe = |reason| KeysError::Unsafe { path: path.to_owned(), reason };
    // A link may lead anywhere, and a pipe would wait for a writer.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(not_safe("is a symbolic link"));
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(not_safe("belongs to another user")),
        Err(error) => return Err(failed(error)),
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(not_safe("is not a file"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(not_safe("belongs to another user"));
    }
    if found.mode() & OTHERS != 0 {
        return Err(not_safe("may be read or written by its group or by everybody"));
    }
    let mut text = String::new();
    match file.take(FILE_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(not_safe("is not text")),
        Err(error) => Err(failed(error)),
    }
}

/// Makes the file, unless there is one. It has its name only once it is whole and on disk, and of many who try, one succeeds.
fn make(state_dir: &Path, path: &Path) -> Result<(), KeysError> {
    let failed = |source| KeysError::File { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(failed)?;
    let hex = || random_id().map(u128::from_be_bytes).map_err(KeysError::Random);
    let (first, second, name) = (hex()?, hex()?, hex()?);
    let draft = state_dir.join(format!("{FILE}.{name:032x}"));
    let linked = write(&draft, &format!("{first:032x}{second:032x}\n")).and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match linked {
        Ok(()) => {
            tracing::info!(path = %path.display(), "A key for sessions was made; without it they end.");
            // The name has to survive a loss of power as well as what it names.
            File::open(state_dir).and_then(|folder| folder.sync_all()).map_err(failed)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::Barrier;
    use std::thread;

    use task_mcp_mcp::sealed::Purpose;

    use super::*;

    fn opens(ring: &Keyring, text: &str) -> bool {
        ring.open(Purpose::Session, "text", text.as_bytes(), 512).is_ok()
    }

    #[test]
    fn processes_that_race_agree_on_one_key_which_only_the_owner_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a/state");
        let barrier = Barrier::new(8);
        let rings: Vec<Keyring> = thread::scope(|scope| {
            let one = || {
                barrier.wait();
                of_the_instance(&state).unwrap()
            };
            let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let sealed = rings.first().unwrap().seal(Purpose::Session, b"x").unwrap();
        assert!(rings.iter().chain([&of_the_instance(&state).unwrap()]).all(|ring| opens(ring, &sealed)));
        let names: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE], "no draft is left");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join(FILE))), (0o700, 0o600));
    }

    #[test]
    fn the_line_of_the_file_may_stand_in_the_settings() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = of_the_instance(folder.path()).unwrap().seal(Purpose::Session, b"x").unwrap();
        let line = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(opens(&Keyring::new(&[line.trim_end()]).unwrap(), &sealed));
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_no_key_is_refused_with_its_path_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let refused = || {
            let error = of_the_instance(folder.path()).unwrap_err();
            let text = error.to_string();
            assert!(error.is_for_the_operator() && text.contains(path.to_str().unwrap()) && text.contains("0600"));
            text
        };
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610] {
            fs::write(&path, "k".repeat(64)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(refused().contains("by its group or by everybody"), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(of_the_instance(folder.path()).is_ok());
        fs::write(&path, "short").unwrap();
        assert!(refused().contains("less than 32 bytes"));
        fs::write(&path, [0xff; 64]).unwrap();
        assert!(refused().contains("not text"));
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert!(refused().contains("symbolic link"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(refused().contains("not a file"));
    }
}

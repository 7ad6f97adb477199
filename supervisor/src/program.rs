//! Programs: the one that runs, whatever has the place of its file now, and the one that was installed there.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// The program of this process, even if its file was replaced since (proc_pid_exe(5)).
const THIS: &str = "/proc/self/exe";

/// A program that processes are started with.
#[derive(Debug)]
pub(crate) enum Program {
    /// The one of this process.
    This,
    /// The one that this process was before it became another.
    File(OwnedFd),
    /// Whatever lies there.
    Path(PathBuf),
}

impl Program {
    /// Where it is found, by this process and its children.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::This => PathBuf::from(THIS),
            Self::File(fd) => through(fd),
            Self::Path(path) => path.clone(),
        }
    }

    /// The same program for another owner.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::This => Self::This,
            Self::File(fd) => Self::File(fd.try_clone()?),
            Self::Path(path) => Self::Path(path.clone()),
        })
    }
}

/// A descriptor of a program's file, good for nothing but executing it.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(File::options().read(true).custom_flags(OFlags::PATH.bits() as i32).open(path)?.into())
}

/// A descriptor of the program of this process.
pub(crate) fn open_this() -> io::Result<OwnedFd> {
    open(Path::new(THIS))
}

/// Whether a file still has its place.
pub(crate) fn is_at(fd: &OwnedFd, path: &Path) -> io::Result<bool> {
    let (held, found) = (rustix::fs::fstat(fd)?, std::fs::metadata(path)?);
    Ok((held.st_dev, held.st_ino) == (found.dev(), found.ino()))
}

/// The file of a descriptor, by a name that execve(2) takes.
fn through(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// How a program is started in the place of the running one.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Where its file is put when another version is installed.
    pub path: PathBuf,
    /// Its arguments, the name it is called by among them.
    pub args: Vec<OsString>,
    /// Variables it is given beside those of this process.
    pub env: Vec<(OsString, OsString)>,
}

impl Installed {
    /// How this process was started. The path is the one it was called by, links and all, so that a link that is made to point to
    /// another version is followed; if that does not lead to the program that runs, its own file's path; if the system does not
    /// tell that, an empty one, at which no other program will be found.
    pub fn of_this_process() -> Self {
        let args: Vec<OsString> = std::env::args_os().collect();
        let named = args.first().and_then(|name| called_by(Path::new(name)));
        let path = named.or_else(|| std::env::current_exe().ok()).unwrap_or_default();
        Self { path, args, env: Vec::new() }
    }
}

/// The absolute path that a name leads to as execvp(3) does, if that is the program that runs.
fn called_by(name: &Path) -> Option<PathBuf> {
    let own = std::fs::metadata(THIS).ok()?;
    let is_own = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (own.dev(), own.ino()))
    };
    if name.components().count() > 1 || name.is_absolute() {
        return std::path::absolute(name).ok().filter(is_own);
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).filter_map(|folder| std::path::absolute(folder.join(name)).ok()).find(is_own)
}

//! Reading a document: leniently as the CLI does, or with a limit and strict UTF-8 as the tools do.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};

/// How documents are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    /// Largest document in bytes.
    limit_bytes: u64,
    strict: bool,
}

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{path} is larger than {limit_bytes} bytes", path = path.display())]
    TooLarge { path: PathBuf, limit_bytes: u64 },
    #[error("{path} is not valid UTF-8", path = path.display())]
    NotUtf8 { path: PathBuf },
    #[error("{path} is a symbolic link", path = path.display())]
    Link { path: PathBuf },
    #[error("{path} lies too many folders deep", path = path.display())]
    TooDeep { path: PathBuf },
}

impl Reader {
    /// No limit; bytes that are no UTF-8 become U+FFFD, as in Node.
    pub(crate) const fn cli() -> Self {
        Self { limit_bytes: u64::MAX, strict: false }
    }

    /// At most `limit_bytes`, strict UTF-8, plain files only.
    pub(crate) const fn tools(limit_bytes: u64) -> Self {
        Self { limit_bytes, strict: true }
    }

    /// Whether this is how the tools read: then messages have relative paths too.
    pub(crate) const fn is_strict(self) -> bool {
        self.strict
    }

    /// Reads a document.
    pub(crate) fn read(self, path: &Path) -> Result<String, FileError> {
        self.text(&self.open(path)?, path)
    }

    /// Reads a document below `base` and tells its times; `None` if it is missing. No link on the way from there is followed, even one
    /// that appears meanwhile: each folder is opened from the one before (openat(2)).
    pub(crate) fn read_below(self, base: &Path, relative: &str) -> Result<Option<(String, Metadata)>, FileError> {
        let mut path = base.to_owned();
        let mut folder = match OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(base) {
            Ok(folder) => OwnedFd::from(folder),
            Err(error) if missing(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut names = relative.split('/').peekable();
        while let Some(name) = names.next() {
            path.push(name);
            let kind = if names.peek().is_some() { OFlag::O_DIRECTORY } else { OFlag::O_NONBLOCK };
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | kind;
            folder = match openat(&folder, name, flags, Mode::empty()) {
                Ok(opened) => opened,
                Err(Errno::ENOENT) => return Ok(None),
                // A link where a folder should be is told as any other file is.
                Err(Errno::ENOTDIR | Errno::ELOOP) => {
                    let there = fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(io::Error::from)?;
                    let is_link = SFlag::from_bits_truncate(there.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFLNK;
                    return if is_link { Err(FileError::Link { path }) } else { Ok(None) };
                }
                Err(errno) => return Err(io::Error::from(errno).into()),
            };
        }
        let file = File::from(folder);
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok(Some((self.text(&file, &path)?, metadata))) } else { Ok(None) }
    }

    fn text(self, file: &File, path: &Path) -> Result<String, FileError> {
        let mut bytes = Vec::new();
        let taken = file.take(self.limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        if taken as u64 > self.limit_bytes {
            return Err(FileError::TooLarge { path: path.to_owned(), limit_bytes: self.limit_bytes });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(_) if self.strict => Err(FileError::NotUtf8 { path: path.to_owned() }),
            Err(error) => Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        }
    }

    /// Reads a document that may be missing.
    pub(crate) fn read_if_there(self, path: &Path) -> Result<Option<String>, FileError> {
        match self.read(path) {
            Ok(text) => Ok(Some(text)),
            Err(FileError::Io(error)) if missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Strictly: no link is followed, and a pipe that somebody put there keeps nobody waiting.
    fn open(self, path: &Path) -> Result<File, FileError> {
        if !self.strict {
            return Ok(File::open(path)?);
        }
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
            let link = error.raw_os_error() == Some(Errno::ELOOP as i32);
            if link { FileError::Link { path: path.to_owned() } } else { FileError::Io(error) }
        })?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::from(io::ErrorKind::InvalidInput).into()) }
    }
}

fn missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

//! Reading a document: leniently as the CLI does, or with a limit and strict UTF-8 as the tools do.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How documents are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    /// Largest document in bytes.
    limit_bytes: u64,
    strict: bool,
}

/// Why a document could not be read. Paths are for the log; the outward message has relative ones.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the file is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("the file is not valid UTF-8 (byte {at})")]
    NotUtf8 { at: usize },
}

impl Reader {
    /// No limit; bytes that are no UTF-8 become U+FFFD, as in Node.
    pub(crate) const fn cli() -> Self {
        Self { limit_bytes: u64::MAX, strict: false }
    }

    /// At most `limit_bytes`; strict UTF-8.
    pub(crate) const fn tools(limit_bytes: u64) -> Self {
        Self { limit_bytes, strict: true }
    }

    /// Reads a document.
    pub(crate) fn read(self, path: &Path) -> Result<String, FileError> {
        let mut bytes = Vec::new();
        let taken = File::open(path)?.take(self.limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        if taken as u64 > self.limit_bytes {
            return Err(FileError::TooLarge { limit_bytes: self.limit_bytes });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(error) if self.strict => Err(FileError::NotUtf8 { at: error.utf8_error().valid_up_to() }),
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
}

fn missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

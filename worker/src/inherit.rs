//! Descriptors inherited by number. The counterpart of the supervisor's `spawn`, which clears close-on-exec on exactly the
//! descriptors it names in the arguments.
#![allow(unsafe_code, reason = "the number of an inherited descriptor can be turned into an owner in no safe way")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use crate::error::WorkerError;

/// Takes ownership of the inherited descriptor `fd` and makes it close-on-exec again, so that no tool inherits it in turn.
///
/// # Errors
/// It is not open, or is one of the three standard streams.
pub(crate) fn inherit(fd: RawFd, what: &'static str) -> Result<OwnedFd, WorkerError> {
    if fd <= 2 {
        let source = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(WorkerError::Inherit { fd, what, source });
    }
    // SAFETY: the number came on the command line from the supervisor, which opened the descriptor for this process alone;
    // arguments are read once, each number is passed here once, before any other code of this process opens a descriptor.
    // Should the number not be open, the next call says so and the owner is forgotten without closing anything.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    match fcntl_getfd(&owned).and_then(|flags| fcntl_setfd(&owned, flags | FdFlags::CLOEXEC)) {
        Ok(()) => Ok(owned),
        Err(errno) => {
            std::mem::forget(owned);
            Err(WorkerError::Inherit { fd, what, source: errno.into() })
        }
    }
}

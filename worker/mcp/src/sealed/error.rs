//! Why something is not sealed, or not taken back.

use super::keyring::{KEYS_MAX, SECRET_BYTES_MIN};

/// Why keys cannot be used. The texts never hold one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// There is none.
    #[error("no key is given to seal with")]
    Empty,
    /// There are more than may be tried.
    #[error("{count} keys are over the limit of {KEYS_MAX}; remove the oldest")]
    TooMany {
        /// How many they are.
        count: usize,
    },
    /// One is too short.
    #[error(
        "key {number} has {bytes} bytes, {SECRET_BYTES_MIN} or more are needed; make one with `openssl rand -hex 32`"
    )]
    TooShort {
        /// Its place in the list, from 1.
        number: usize,
        /// Its length, in bytes.
        bytes: usize,
    },
    /// The cipher refused one.
    #[error("key {number} cannot be used by the cipher")]
    Cipher {
        /// Its place in the list, from 1.
        number: usize,
    },
}

/// Why something is not sealed, or not taken back. It is for the server: a client is told no more than that what it sent is not
/// accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A part, or the whole, is longer than it may be.
    #[error("the {what} has {bytes} bytes, which is over the limit of {limit_bytes} bytes")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Its length, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// It is not a text that was sealed here, or one of a version that is not known.
    #[error("it is not of the form that is sealed here")]
    Form,
    /// It is not of a key of the ring, or was changed, or sealed for another purpose.
    #[error("it was not sealed with a key in force, or was changed")]
    Forged,
    /// Its time is over.
    #[error("its time is over")]
    Expired,
    /// It was sealed for somebody else.
    #[error("it was sealed for another principal")]
    Principal,
    /// It was sealed for another call.
    #[error("it was sealed for another call: the {what} differs")]
    Call {
        /// What differs.
        what: &'static str,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// Checks the length of a part.
pub(super) fn within(what: &'static str, bytes: usize, limit_bytes: usize) -> Result<(), SealError> {
    if bytes > limit_bytes {
        return Err(SealError::TooLong { what, bytes, limit_bytes });
    }
    Ok(())
}

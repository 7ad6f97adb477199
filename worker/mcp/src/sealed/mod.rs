//! What a client keeps for the server: sealed, so that it can neither be read nor changed, and any worker on any machine with the
//! same keys takes it back without memory of its own.
//!
//! - `keyring`: the keys, and sealing as such; `error`: why something is not taken back; `codec`: the form of what is sealed
//! - `session`: the id of a legacy session; `round`: the `requestState` of a call that asks its client something
//! - `question`: ids of requests from server to client, which prove that the server made them
//!
//! Sealing is AES-256-GCM-SIV (RFC 8452) under a key of its own for each purpose, so that nothing that was sealed for one is taken
//! for another. A nonce is drawn at random from 96 bits; GCM-SIV survives that one is drawn twice: all that is told then is whether
//! two texts are the same. Nothing here knows a clock: callers say what time it is, in milliseconds since the Unix epoch.

mod codec;
mod error;
mod keyring;
mod question;
mod round;
mod session;

pub use error::{KeyringError, SealError};
pub use keyring::{KEYS_MAX, Keyring, Purpose, SECRET_BYTES_MIN};
pub use question::QUESTION_ID_BYTES;
pub use round::{DOCUMENT_TAG_BYTES_MAX, REQUEST_STATE_BYTES_MAX, Round, RoundCall};
pub use session::{CLIENT_NAME_BYTES_MAX, CLIENT_VERSION_BYTES_MAX, SESSION_TOKEN_BYTES_MAX, SealedSession};

use aws_lc_rs::rand;

/// 128 random bits: a session's id, or a nonce for [`Round`].
///
/// # Errors
/// The system gives no random numbers.
pub fn random_id() -> Result<[u8; 16], SealError> {
    let mut id = [0; 16];
    rand::fill(&mut id).map_err(|_| SealError::Random)?;
    Ok(id)
}

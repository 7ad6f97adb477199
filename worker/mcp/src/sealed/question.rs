//! Ids of requests from server to client in a legacy session. An id proves that the server made it for this session, so that an
//! answer nobody asked for is told from one that somebody waits for, perhaps at another worker, without memory.

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::SealError;
use super::keyring::{KEY_ID_BYTES, Key, Keyring};
use super::random_id;

/// Length of an id, in bytes.
pub const QUESTION_ID_BYTES: usize = MARK.len() + (PLAIN_BYTES * 4).div_ceil(3);
/// What an id begins with; another form has another.
const MARK: &str = "q1";
const PLAIN_BYTES: usize = KEY_ID_BYTES + 8 + RANDOM_BYTES + MAC_BYTES;
const RANDOM_BYTES: usize = 16;
/// 128 bits: nobody guesses one.
const MAC_BYTES: usize = 16;

impl Keyring {
    /// An id for a question to the client of that session, whose answer is accepted until `expires_ms`.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn question_id(&self, session: &[u8; 16], expires_ms: u64) -> Result<String, SealError> {
        let key = self.first();
        let (random, expires) = (random_id()?, expires_ms.to_be_bytes());
        let mac = mac(key, session, expires, random);
        let plain = [key.id.as_slice(), &expires, &random, &mac].concat();
        Ok(format!("{MARK}{}", URL_SAFE_NO_PAD.encode(plain)))
    }

    /// Checks that a question of that id was made for that session, and that its answer is not too late.
    ///
    /// # Errors
    /// Nobody asked, or somebody else was asked, or the time of the question is over.
    pub fn check_question_id(&self, id: &str, session: &[u8; 16], now_ms: u64) -> Result<(), SealError> {
        if id.len() != QUESTION_ID_BYTES {
            return Err(SealError::Form);
        }
        let text = id.strip_prefix(MARK).ok_or(SealError::Form)?;
        let plain = URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Form)?;
        let (key_id, rest) = plain.split_first_chunk::<KEY_ID_BYTES>().ok_or(SealError::Form)?;
        let (expires, rest) = rest.split_first_chunk::<8>().ok_or(SealError::Form)?;
        let (random, told) = rest.split_first_chunk::<RANDOM_BYTES>().ok_or(SealError::Form)?;
        let is_ours = |key: &Key| {
            let expected = mac(key, session, *expires, *random);
            constant_time::verify_slices_are_equal(&expected, told).is_ok()
        };
        if !self.of_id(key_id).any(is_ours) {
            return Err(SealError::Forged);
        }
        if u64::from_be_bytes(*expires) <= now_ms {
            return Err(SealError::Expired);
        }
        Ok(())
    }
}

/// All parts have a fixed length, so that no two questions have one text.
fn mac(key: &Key, session: &[u8; 16], expires: [u8; 8], random: [u8; RANDOM_BYTES]) -> [u8; MAC_BYTES] {
    let mut hasher = blake3::Hasher::new_keyed(&key.question);
    hasher.update(session).update(&expires).update(&random);
    let mut mac = [0; MAC_BYTES];
    hasher.finalize_xof().fill(&mut mac);
    mac
}

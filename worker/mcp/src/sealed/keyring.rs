//! The keys, and sealing as such.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::{KeyringError, SealError, within};

/// Most keys of a ring: as many as `auth.sealing_keys` takes.
pub const KEYS_MAX: usize = 1_024;
/// Shortest secret, in bytes: as strong as the cipher.
pub const SECRET_BYTES_MIN: usize = 32;

/// First character of what is sealed: another form has another.
const VERSION: u8 = b'1';
/// Enough that two keys of a ring share it only by a rare accident, which costs one more try.
pub(super) const KEY_ID_BYTES: usize = 6;
const TAG_BYTES: usize = 16;
/// What sealing adds, before it is written as text.
pub(super) const OVERHEAD_BYTES: usize = KEY_ID_BYTES + NONCE_LEN + TAG_BYTES;

/// What something is sealed for. Each has a key of its own, so that a text of one is nothing to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The id of a session.
    Session,
    /// The state of a call that asks its client something.
    Round,
}

/// Contexts of the derivation (BLAKE3, "derive_key"): unlike each other and everybody else's, and never changed.
const SESSION: &str = "task-mcp 2026-11-25 sealed session id";
const ROUND: &str = "task-mcp 2026-11-25 sealed requestState";
const QUESTION: &str = "task-mcp 2026-11-25 id of a question to a client";
const KEY_ID: &str = "task-mcp 2026-11-25 id of a sealing key";

/// The keys in force. The first seals, all open, so that a new one can take over before the old one is taken away.
///
/// Cloning is not meant: it is shared, and replaced as a whole.
#[derive(Debug)]
pub struct Keyring {
    first: Key,
    others: Vec<Key>,
}

/// What was derived from one secret; the secret itself is not kept.
pub(super) struct Key {
    pub(super) id: [u8; KEY_ID_BYTES],
    session: RandomizedNonceKey,
    round: RandomizedNonceKey,
    pub(super) question: [u8; 32],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Key {
    fn new(secret: &[u8]) -> Option<Self> {
        let cipher = |context| RandomizedNonceKey::new(&AES_256_GCM_SIV, &blake3::derive_key(context, secret)).ok();
        let [a, b, c, d, e, f, ..] = blake3::derive_key(KEY_ID, secret);
        Some(Self {
            id: [a, b, c, d, e, f],
            session: cipher(SESSION)?,
            round: cipher(ROUND)?,
            question: blake3::derive_key(QUESTION, secret),
        })
    }

    fn cipher(&self, purpose: Purpose) -> &RandomizedNonceKey {
        match purpose {
            Purpose::Session => &self.session,
            Purpose::Round => &self.round,
        }
    }

    /// What is told in clear is protected too.
    fn head(&self) -> [u8; 1 + KEY_ID_BYTES] {
        let [a, b, c, d, e, f] = self.id;
        [VERSION, a, b, c, d, e, f]
    }
}

impl Keyring {
    /// A ring of these secrets, in this order.
    ///
    /// # Errors
    /// None, over [`KEYS_MAX`], or one under [`SECRET_BYTES_MIN`].
    pub fn new<S: AsRef<[u8]>>(secrets: &[S]) -> Result<Self, KeyringError> {
        if secrets.len() > KEYS_MAX {
            return Err(KeyringError::TooMany { count: secrets.len() });
        }
        let key = |(index, secret): (usize, &S)| {
            let (number, bytes) = (index + 1, secret.as_ref().len());
            if bytes < SECRET_BYTES_MIN {
                return Err(KeyringError::TooShort { number, bytes });
            }
            Key::new(secret.as_ref()).ok_or(KeyringError::Cipher { number })
        };
        let mut keys = secrets.iter().enumerate().map(key);
        let first = keys.next().ok_or(KeyringError::Empty)??;
        Ok(Self { first, others: keys.collect::<Result<_, _>>()? })
    }

    /// Seals bytes with the first key: visible ASCII, a version character and then base64url (RFC 4648, section 5) without padding of
    /// key id, nonce, ciphertext and tag.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn seal(&self, purpose: Purpose, plain: &[u8]) -> Result<String, SealError> {
        let key = &self.first;
        let mut sealed = Vec::with_capacity(plain.len() + TAG_BYTES);
        sealed.extend_from_slice(plain);
        let aad = Aad::from(key.head());
        let nonce = key.cipher(purpose).seal_in_place_append_tag(aad, &mut sealed).map_err(|_| SealError::Random)?;
        let whole = [key.id.as_slice(), nonce.as_ref(), &sealed].concat();
        let mut text = String::with_capacity(text_bytes(plain.len()));
        text.push(char::from(VERSION));
        URL_SAFE_NO_PAD.encode_string(whole, &mut text);
        Ok(text)
    }

    /// Opens what was sealed for that purpose with a key of the ring. A text of over `bytes_max` bytes is not looked at; any other
    /// costs one decoding and, of whatever key it claims to be, one decryption.
    ///
    /// # Errors
    /// [`SealError::TooLong`], [`SealError::Form`] or [`SealError::Forged`].
    pub fn open(
        &self,
        purpose: Purpose,
        what: &'static str,
        text: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<u8>, SealError> {
        within(what, text.len(), bytes_max)?;
        let (version, rest) = text.split_first().ok_or(SealError::Form)?;
        if *version != VERSION {
            return Err(SealError::Form);
        }
        // Bits that stand for nothing are refused: there is one text for what was sealed, and no other.
        let mut whole = URL_SAFE_NO_PAD.decode(rest).map_err(|_| SealError::Form)?;
        let (id, sealed) = whole.split_first_chunk_mut::<KEY_ID_BYTES>().ok_or(SealError::Form)?;
        let (nonce, sealed) = sealed.split_first_chunk_mut::<NONCE_LEN>().ok_or(SealError::Form)?;
        if sealed.len() < TAG_BYTES {
            return Err(SealError::Form);
        }
        let mut keys = self.of_id(id).peekable();
        // A key that is not there takes as long as one that does not fit.
        let stand_in = keys.peek().is_none().then_some(&self.first);
        let mut found = None;
        for key in keys.chain(stand_in) {
            let mut plain = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            // The head that was sealed names the key, so that the stand-in opens nothing.
            let aad = Aad::from([[VERSION].as_slice(), id.as_slice()].concat());
            if let Ok(opened) = key.cipher(purpose).open_in_place(nonce, aad, &mut plain) {
                let length = opened.len();
                plain.truncate(length);
                found = Some(plain);
            }
        }
        found.ok_or(SealError::Forged)
    }

    /// The key that seals.
    pub(super) fn first(&self) -> &Key {
        &self.first
    }

    /// The keys of that id: one, none, or by a rare accident more.
    pub(super) fn of_id<'a>(&'a self, id: &'a [u8; KEY_ID_BYTES]) -> impl Iterator<Item = &'a Key> {
        std::iter::once(&self.first).chain(&self.others).filter(move |key| key.id == *id)
    }
}

/// Length of the text of so many bytes.
pub(super) const fn text_bytes(plain_bytes: usize) -> usize {
    1 + ((plain_bytes + OVERHEAD_BYTES) * 4).div_ceil(3)
}

/// Most bytes whose text is no longer than that.
pub(super) const fn plain_bytes(text_bytes: usize) -> usize {
    (text_bytes - 1) * 3 / 4 - OVERHEAD_BYTES
}

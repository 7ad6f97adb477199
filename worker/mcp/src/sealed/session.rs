//! The id of a legacy session (`Mcp-Session-Id`): all that a session is, so that nobody has to remember it.
//!
//! Source: specification 2025-11-25, "Transports", session management: visible ASCII, secure against guessing.

use super::codec::{Reader, Writer};
use super::error::SealError;
use super::keyring::{Keyring, Purpose, text_bytes};
use crate::{ClientCapabilities, Era, Revision};

/// Longest id of a session, in bytes: it comes with every request, in a header.
pub const SESSION_TOKEN_BYTES_MAX: usize = 512;
/// Longest name of a client that is kept, in bytes; more is cut off.
pub const CLIENT_NAME_BYTES_MAX: usize = 128;
/// Longest version of a client that is kept, in bytes; more is cut off.
pub const CLIENT_VERSION_BYTES_MAX: usize = 64;

/// The form below. Another sequence of fields gets another number.
const FORM: u8 = 1;
/// Form, id, person, capabilities, issued and expiry; three texts with their lengths.
const PLAIN_BYTES_MAX: usize =
    1 + 16 + 32 + 8 + 8 + 8 + (4 + REVISION_BYTES_MAX) + (4 + CLIENT_NAME_BYTES_MAX) + (4 + CLIENT_VERSION_BYTES_MAX);
const REVISION_BYTES_MAX: usize = 10;
const _: () = assert!(text_bytes(PLAIN_BYTES_MAX) <= SESSION_TOKEN_BYTES_MAX, "every id fits");

/// What a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSession {
    /// 128 random bits; see [`random_id`](super::random_id).
    pub id: [u8; 16],
    /// What was agreed on; of the legacy era.
    pub revision: Revision,
    /// What the client said it can do.
    pub capabilities: ClientCapabilities,
    /// Hash of the principal that began it; nobody else may use it.
    pub person: [u8; 32],
    /// When it began, in milliseconds since the Unix epoch.
    pub issued_ms: u64,
    /// When it ends, likewise.
    pub expires_ms: u64,
    /// `clientInfo.name`, cut to [`CLIENT_NAME_BYTES_MAX`] when sealed.
    pub client_name: String,
    /// `clientInfo.version`, cut to [`CLIENT_VERSION_BYTES_MAX`] when sealed.
    pub client_version: String,
}

impl SealedSession {
    /// The id as hexadecimal: names the session where others are told of it. It does not let anybody use it.
    pub fn id_hex(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn encode(&self) -> Vec<u8> {
        Writer::new(FORM)
            .bytes(&self.id)
            .bytes(&self.person)
            .number(self.capabilities.bits().into())
            .number(self.issued_ms)
            .number(self.expires_ms)
            .text(self.revision.name())
            .text(cut(&self.client_name, CLIENT_NAME_BYTES_MAX))
            .text(cut(&self.client_version, CLIENT_VERSION_BYTES_MAX))
            .done()
    }

    fn decode(bytes: &[u8]) -> Result<Self, SealError> {
        let mut reader = Reader::new(bytes, FORM)?;
        let (id, person) = (reader.bytes()?, reader.bytes()?);
        let bits = reader.number()?.try_into().map_err(|_| SealError::Form)?;
        let capabilities = ClientCapabilities::from_bits(bits);
        let (issued_ms, expires_ms) = (reader.number()?, reader.number()?);
        let revision = Revision::parse(reader.text(REVISION_BYTES_MAX)?).ok_or(SealError::Form)?;
        if revision.era() != Era::Legacy {
            return Err(SealError::Form);
        }
        let client_name = reader.text(CLIENT_NAME_BYTES_MAX)?.to_owned();
        let client_version = reader.text(CLIENT_VERSION_BYTES_MAX)?.to_owned();
        reader.end()?;
        Ok(Self { id, revision, capabilities, person, issued_ms, expires_ms, client_name, client_version })
    }
}

impl Keyring {
    /// The text of a session's id, of at most [`SESSION_TOKEN_BYTES_MAX`] bytes of visible ASCII.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn seal_session(&self, session: &SealedSession) -> Result<String, SealError> {
        self.seal(Purpose::Session, &session.encode())
    }

    /// The session whose id `text` is, for the principal with the hash `person`.
    ///
    /// # Errors
    /// It is none, was changed, is another principal's, or its time is over.
    pub fn open_session(&self, text: &[u8], person: &[u8; 32], now_ms: u64) -> Result<SealedSession, SealError> {
        let plain = self.open(Purpose::Session, "session id", text, SESSION_TOKEN_BYTES_MAX)?;
        let session = SealedSession::decode(&plain)?;
        if session.person != *person {
            return Err(SealError::Principal);
        }
        if session.expires_ms <= now_ms {
            return Err(SealError::Expired);
        }
        Ok(session)
    }
}

/// The beginning of a text, whole characters of it.
fn cut(text: &str, bytes_max: usize) -> &str {
    let end = text.floor_char_boundary(bytes_max);
    text.get(..end).unwrap_or_default()
}

//! The `requestState` of a call that asks its client something: what the next round needs to know, kept by the client.
//!
//! Source: specification 2026-07-28, "Multi Round-Trip Requests": the state comes back through the client, so its integrity is
//! protected, and it is bound to who called and to what was called.

use super::codec::{Reader, Writer};
use super::error::{SealError, within};
use super::keyring::{Keyring, Purpose, plain_bytes};

/// Longest `requestState`, in bytes: it comes within a body of `limits.body_bytes`, beside the arguments and the answers.
pub const REQUEST_STATE_BYTES_MAX: usize = 64 << 10;
/// Longest tag of a document, in bytes.
pub const DOCUMENT_TAG_BYTES_MAX: usize = 256;
/// Longest method, in bytes.
const METHOD_BYTES_MAX: usize = 64;
/// Longest name of a tool or prompt, or URI of a resource, in bytes.
const NAME_BYTES_MAX: usize = 2_048;
/// The answers may have what the rest leaves of the whole.
const ANSWERS_BYTES_MAX: usize = plain_bytes(REQUEST_STATE_BYTES_MAX)
    - (1 + 32 + 32 + 16 + 8 + 8)
    - (4 + METHOD_BYTES_MAX)
    - (4 + NAME_BYTES_MAX)
    - (4 + DOCUMENT_TAG_BYTES_MAX)
    - 4;

/// The form below. Another sequence of fields gets another number.
const FORM: u8 = 1;

/// The call that a state belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundCall<'a> {
    /// Hash of the principal.
    pub person: &'a [u8; 32],
    /// `tools/call`, `prompts/get` or `resources/read`.
    pub method: &'a str,
    /// Name of the tool or prompt, or URI of the resource.
    pub name: &'a str,
    /// Hash of the canonical arguments.
    pub arguments: &'a [u8; 32],
}

/// What one round leaves to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Tag of the document as the call found it; empty if it read none. Whoever reads the document again compares it.
    pub document_tag: String,
    /// The answers so far: the text of a JSON object.
    pub answers: String,
    /// 128 random bits that all states of a call share, to be used once by calls that write; see [`random_id`](super::random_id).
    pub nonce: [u8; 16],
    /// When it is not accepted any more, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// Which round it begins: 2 for the first state of a call.
    pub number: u32,
}

impl Keyring {
    /// The text of a state for the next round of `call`, of at most [`REQUEST_STATE_BYTES_MAX`] bytes of visible ASCII.
    ///
    /// # Errors
    /// A part is longer than it may be, or the system gives no random numbers.
    pub fn seal_round(&self, call: RoundCall<'_>, round: &Round) -> Result<String, SealError> {
        within("method", call.method.len(), METHOD_BYTES_MAX)?;
        within("name", call.name.len(), NAME_BYTES_MAX)?;
        within("document tag", round.document_tag.len(), DOCUMENT_TAG_BYTES_MAX)?;
        within("JSON of the answers", round.answers.len(), ANSWERS_BYTES_MAX)?;
        let plain = Writer::new(FORM)
            .bytes(call.person)
            .bytes(call.arguments)
            .bytes(&round.nonce)
            .number(round.expires_ms)
            .number(round.number.into())
            .text(call.method)
            .text(call.name)
            .text(&round.document_tag)
            .text(&round.answers)
            .done();
        self.seal(Purpose::Round, &plain)
    }

    /// What the last round of `call` left. That it is used once is for the caller to see to, who has a memory for
    /// [`Round::nonce`].
    ///
    /// # Errors
    /// It is none, was changed, belongs to another principal or call, or its time is over.
    pub fn open_round(&self, text: &[u8], call: RoundCall<'_>, now_ms: u64) -> Result<Round, SealError> {
        let plain = self.open(Purpose::Round, "requestState", text, REQUEST_STATE_BYTES_MAX)?;
        let mut reader = Reader::new(&plain, FORM)?;
        let (person, arguments): ([u8; 32], [u8; 32]) = (reader.bytes()?, reader.bytes()?);
        let (nonce, expires_ms) = (reader.bytes()?, reader.number()?);
        let number = reader.number()?.try_into().map_err(|_| SealError::Form)?;
        let (method, name) = (reader.text(METHOD_BYTES_MAX)?, reader.text(NAME_BYTES_MAX)?);
        let document_tag = reader.text(DOCUMENT_TAG_BYTES_MAX)?.to_owned();
        let answers = reader.text(ANSWERS_BYTES_MAX)?.to_owned();
        reader.end()?;
        if person != *call.person {
            return Err(SealError::Principal);
        }
        for (what, is_same) in [
            ("method", method == call.method),
            ("name", name == call.name),
            ("arguments", arguments == *call.arguments),
        ] {
            if !is_same {
                return Err(SealError::Call { what });
            }
        }
        if expires_ms <= now_ms {
            return Err(SealError::Expired);
        }
        Ok(Round { document_tag, answers, nonce, expires_ms, number })
    }
}

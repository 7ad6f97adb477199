//! What a record is, and its form in storage.

use std::time::Duration;

use bytes::Bytes;
/// Records outlive processes and the machine's uptime.
pub(crate) use task_mcp_scoreboard::unix_ms as now_ms;

/// A namespace of records. Its name is part of what is stored and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What a session changed.
    Session,
    /// Tokens and sessions that are not to be accepted any more.
    Revocation,
    /// Tasks.
    Task,
    /// Those of them that have not ended, and who runs them.
    Alive,
    /// Calls with an idempotency key.
    Call,
    /// Processes that run such calls.
    Runner,
    /// What may be used once.
    Nonce,
    /// Events of streams.
    Event,
    /// The last number of each stream.
    Stream,
    /// Answers of clients that somebody waits for.
    Answer,
    /// Sessions that were used lately.
    Activity,
    /// Written to find out whether that is possible.
    Probe,
}

impl Kind {
    /// Its name: letters, without a separator.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Revocation => "revocation",
            Self::Task => "task",
            Self::Alive => "alive",
            Self::Call => "call",
            Self::Runner => "runner",
            Self::Nonce => "nonce",
            Self::Event => "event",
            Self::Stream => "stream",
            Self::Answer => "answer",
            Self::Activity => "activity",
            Self::Probe => "probe",
        }
    }

    /// The key of a record among those of all kinds.
    pub(crate) fn path(self, key: &str) -> Vec<u8> {
        [self.name().as_bytes(), &[SEPARATOR], key.as_bytes()].concat()
    }
}

/// No name of a kind has it.
const SEPARATOR: u8 = 0;

/// Tells one state of a record from all others, also from those of an earlier record with the same key: it is random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Version(pub(crate) u64);

impl Version {
    /// One that no record has had.
    pub(crate) fn fresh() -> Self {
        Self(rand::random())
    }
}

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) version: Version,
    /// When it ends, in milliseconds since the Unix epoch.
    pub(crate) end_ms: u64,
    pub(crate) value: Bytes,
}

/// First byte of a stored record.
const FORM: u8 = 1;
/// Form, version, end.
pub(crate) const HEAD_BYTES: usize = 1 + 8 + 8;

/// A stored record is none of this version's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored record is not of the form this version knows")]
pub struct Unreadable;

impl Record {
    /// The stored form: 1, the version and the end (8 bytes each, big endian), the value.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.value.len());
        bytes.push(FORM);
        bytes.extend_from_slice(&self.version.0.to_be_bytes());
        bytes.extend_from_slice(&self.end_ms.to_be_bytes());
        bytes.extend_from_slice(&self.value);
        bytes
    }

    /// Reads the stored form; copies the value.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let (form, rest) = bytes.split_first().ok_or(Unreadable)?;
        let (version, rest) = rest.split_first_chunk().ok_or(Unreadable)?;
        let (end_ms, value) = rest.split_first_chunk().ok_or(Unreadable)?;
        if *form != FORM {
            return Err(Unreadable);
        }
        Ok(Self {
            version: Version(u64::from_be_bytes(*version)),
            end_ms: u64::from_be_bytes(*end_ms),
            value: Bytes::copy_from_slice(value),
        })
    }
}

/// When something ends that begins now.
pub(crate) fn end_of(ttl: Duration) -> u64 {
    now_ms().saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_stored_form_is_this() {
        let record = Record { version: Version(1), end_ms: 258, value: Bytes::from_static(b"v") };
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, b'v'];
        assert_eq!(record.encode(), bytes);
        assert_eq!(Record::decode(&bytes), Ok(record));
        assert_eq!(Kind::Call.path("k"), b"call\0k");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_stored_is_read_again_and_no_bytes_panic(
            version: u64, end_ms: u64, value: Vec<u8>, bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let record = Record { version: Version(version), end_ms, value: value.into() };
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }
}

//! What is written of a call.

use bytes::Bytes;

use crate::records::Unreadable;

/// A call with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Hash of its body.
    pub(super) fingerprint: [u8; 32],
    pub(super) stage: Stage,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// That process runs it.
    Running {
        /// The number it goes by.
        runner: u64,
    },
    /// This was the answer.
    Answered(Bytes),
    /// Nobody will say what came of it.
    Lost,
}

const RUNNING: u8 = 1;
const ANSWERED: u8 = 2;
const LOST: u8 = 3;

impl Entry {
    /// The stage in one byte, the fingerprint, then the runner (8 bytes, big endian) or the answer.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (stage, rest): (u8, &[u8]) = match &self.stage {
            Stage::Running { runner } => (RUNNING, &runner.to_be_bytes()),
            Stage::Answered(answer) => (ANSWERED, answer),
            Stage::Lost => (LOST, &[]),
        };
        [&[stage], self.fingerprint.as_slice(), rest].concat()
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self, Unreadable> {
        let (stage, rest) = bytes.split_first().ok_or(Unreadable)?;
        let (fingerprint, rest) = rest.split_first_chunk().ok_or(Unreadable)?;
        let stage = match *stage {
            RUNNING => Stage::Running { runner: u64::from_be_bytes(rest.try_into().map_err(|_| Unreadable)?) },
            ANSWERED => Stage::Answered(bytes.slice_ref(rest)),
            LOST if rest.is_empty() => Stage::Lost,
            _ => return Err(Unreadable),
        };
        Ok(Self { fingerprint: *fingerprint, stage })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_again_and_no_bytes_panic(
            fingerprint: [u8; 32],
            stage in prop_oneof![
                any::<u64>().prop_map(|runner| Stage::Running { runner }),
                any::<Vec<u8>>().prop_map(|answer| Stage::Answered(answer.into())),
                Just(Stage::Lost),
            ],
            bytes in prop::collection::vec(0_u8..5, 0..60),
        ) {
            let entry = Entry { fingerprint, stage };
            prop_assert_eq!(Entry::decode(&entry.encode().into()), Ok(entry));
            let bytes = Bytes::from(bytes);
            if let Ok(entry) = Entry::decode(&bytes) {
                prop_assert_eq!(entry.encode(), bytes);
            }
        }
    }
}

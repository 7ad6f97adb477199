//! Encoding and incremental decoding of frames.

use std::marker::PhantomData;

use serde_json::Value;

use crate::{LinkError, Message};

/// Version of the protocol, in the field `v` of every message.
pub const VERSION: u64 = 1;

/// Longest JSON text of one frame, in bytes.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// Most descriptors that travel with one message: as many as a slot can have listening sockets.
pub const MAX_DESCRIPTORS: usize = 16;

const LENGTH_BYTES: usize = 4;

/// The field that tells how many descriptors came with a frame, also to those who do not know its message.
const DESCRIPTORS: &str = "descriptors";

/// What a decoder found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received<M> {
    /// A message.
    Message(M),
    /// A message this program does not know; it was skipped.
    Unknown {
        /// Its name.
        name: String,
        /// How many descriptors came with it.
        descriptors: usize,
    },
}

/// Writes one message as a frame.
///
/// # Errors
/// A message that is no JSON object, one over [`MAX_FRAME_BYTES`], or one with more than [`MAX_DESCRIPTORS`].
pub fn encode(message: &impl Message) -> Result<Vec<u8>, LinkError> {
    let mut object = match serde_json::to_value(message).map_err(|error| LinkError::Encode(Some(error)))? {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(LinkError::Encode(None));
        }
    };
    object.insert("v".into(), VERSION.into());
    let descriptors = message.descriptors();
    if descriptors > MAX_DESCRIPTORS {
        return Err(LinkError::TooManyDescriptors { descriptors, limit: MAX_DESCRIPTORS });
    }
    if descriptors > 0 {
        object.insert(DESCRIPTORS.into(), descriptors.into());
    }
    let json = serde_json::to_vec(&object).map_err(|error| LinkError::Encode(Some(error)))?;
    let length = checked(json.len())? as u32;
    let mut frame = Vec::with_capacity(LENGTH_BYTES + json.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&json);
    Ok(frame)
}

/// Puts messages together from the pieces a stream delivers.
///
/// Push what was read, then take messages until there is none; so at most one unfinished frame stays buffered.
#[derive(Debug)]
pub struct Decoder<M> {
    buffer: Vec<u8>,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Decoder<M> {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self { buffer: Vec::new(), message: PhantomData }
    }

    /// Takes bytes as they were read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What was pushed and not yet taken, for another decoder that goes on.
    pub fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// The next complete message; `None` until more bytes are pushed.
    ///
    /// # Errors
    /// A frame over the limit, or one that holds no message of this protocol. The stream is of no use after that.
    pub fn next_message(&mut self) -> Result<Option<Received<M>>, LinkError> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = checked(u32::from_le_bytes(*prefix) as usize)?;
        let Some(json) = rest.get(..length) else {
            return Ok(None);
        };
        let parsed = parse(json);
        self.buffer.drain(..LENGTH_BYTES + length);
        parsed.map(Some)
    }
}

impl<M: Message> Default for Decoder<M> {
    fn default() -> Self {
        Self::new()
    }
}

fn parse<M: Message>(json: &[u8]) -> Result<Received<M>, LinkError> {
    let value: Value = serde_json::from_slice(json).map_err(LinkError::Json)?;
    let found = value.get("v").and_then(Value::as_u64).ok_or(LinkError::NoMessage { field: "v" })?;
    if found != VERSION {
        return Err(LinkError::Version { found, known: VERSION });
    }
    let name = value.get("type").and_then(Value::as_str).ok_or(LinkError::NoMessage { field: "type" })?.to_owned();
    if !M::NAMES.contains(&name.as_str()) {
        let descriptors = value.get(DESCRIPTORS).and_then(Value::as_u64).unwrap_or(0) as usize;
        return Ok(Received::Unknown { name, descriptors });
    }
    serde_json::from_value(value).map(Received::Message).map_err(|source| LinkError::Fields { name, source })
}

fn checked(length: usize) -> Result<usize, LinkError> {
    if length > MAX_FRAME_BYTES {
        return Err(LinkError::TooLong { bytes: length as u64, limit: MAX_FRAME_BYTES as u64 });
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;
    use crate::{FromProcess, ToProcess};

    fn framed(json: &str) -> Vec<u8> {
        [&(json.len() as u32).to_le_bytes(), json.as_bytes()].concat()
    }

    fn decode_all<M: Message>(pieces: &[&[u8]]) -> Result<Vec<Received<M>>, LinkError> {
        let mut decoder = Decoder::new();
        let mut all = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(received) = decoder.next_message()? {
                all.push(received);
            }
        }
        Ok(all)
    }

    #[test]
    fn the_wire_form_is_this() {
        let frame = encode(&ToProcess::Drain { deadline_ms: 30_000 }).unwrap();
        let json: Value = serde_json::from_slice(&frame[4..]).unwrap();
        assert_eq!(json, serde_json::json!({"v": 1, "type": "drain", "deadline_ms": 30_000}));
        assert_eq!(frame[..4], (frame.len() as u32 - 4).to_le_bytes());
    }

    #[test]
    fn every_message_is_in_the_list_of_names() {
        let names = |value: Value| value["type"].as_str().unwrap().to_owned();
        let up = [
            FromProcess::Hello { pid: 1, generation: 2, seat: 3, build: "x".into() },
            FromProcess::Ready { listening: vec![] },
            FromProcess::Applied { revision: 1 },
            FromProcess::Draining,
            FromProcess::Drained { forced: true },
            FromProcess::Fatal { exit_code: 78, reason: "x".into() },
            FromProcess::Publish { topic: "t".into(), payload: "p".into() },
            FromProcess::PublishLost,
            FromProcess::Answered { id: 1, answer: "{}".into() },
        ];
        let up: Vec<_> = up.iter().map(|message| names(serde_json::to_value(message).unwrap())).collect();
        assert_eq!(up, FromProcess::NAMES);
        let down = [
            ToProcess::Drain { deadline_ms: 1 },
            ToProcess::Apply { revision: 1 },
            ToProcess::Adopt { slot: 1, sockets: 2 },
            ToProcess::LogLevel { level: "debug".into() },
            ToProcess::ReopenLogs,
            ToProcess::Event { topic: "t".into(), payload: "p".into() },
            ToProcess::Resync,
            ToProcess::Ask { id: 1, question: "{}".into() },
        ];
        let down: Vec<_> = down.iter().map(|message| names(serde_json::to_value(message).unwrap())).collect();
        assert_eq!(down, ToProcess::NAMES);
    }

    #[test]
    fn unknown_types_are_skipped_with_their_name_and_unknown_fields_ignored() {
        let bytes = [
            framed(r#"{"v":1,"type":"later","x":[1],"descriptors":2}"#),
            framed(r#"{"v":1,"type":"draining","why":"x"}"#),
        ]
        .concat();
        let all = decode_all::<FromProcess>(&[&bytes]).unwrap();
        assert_eq!(
            all,
            [Received::Unknown { name: "later".into(), descriptors: 2 }, Received::Message(FromProcess::Draining)]
        );
    }

    #[test]
    fn what_is_no_message_is_a_typed_error() {
        type Check = fn(&LinkError) -> bool;
        let cases: [(&str, Check); 6] = [
            ("{", |error| matches!(error, LinkError::Json(_))),
            ("[]", |error| matches!(error, LinkError::NoMessage { field: "v" })),
            (r#"{"v":2,"type":"draining"}"#, |error| matches!(error, LinkError::Version { found: 2, .. })),
            (r#"{"v":1}"#, |error| matches!(error, LinkError::NoMessage { field: "type" })),
            (r#"{"v":1,"type":"drained"}"#, |error| matches!(error, LinkError::Fields { .. })),
            (r#"{"v":1,"type":"fatal","exit_code":256,"reason":""}"#, |error| {
                matches!(error, LinkError::Fields { .. })
            }),
        ];
        for (json, is_expected) in cases {
            let error = decode_all::<FromProcess>(&[&framed(json)]).unwrap_err();
            assert!(is_expected(&error), "{json}: {error:?}");
        }
    }

    #[test]
    fn the_length_limit_holds_on_both_sides() {
        let fits = FromProcess::Fatal { exit_code: 70, reason: "x".repeat(MAX_FRAME_BYTES - 100) };
        let frame = encode(&fits).unwrap();
        assert_eq!(decode_all::<FromProcess>(&[&frame]).unwrap(), [Received::Message(fits)]);
        let long = FromProcess::Fatal { exit_code: 70, reason: "x".repeat(MAX_FRAME_BYTES) };
        assert!(matches!(encode(&long), Err(LinkError::TooLong { .. })));
        assert!(encode(&ToProcess::Adopt { slot: 0, sockets: MAX_DESCRIPTORS }).is_ok());
        let many = ToProcess::Adopt { slot: 0, sockets: MAX_DESCRIPTORS + 1 };
        assert!(matches!(encode(&many), Err(LinkError::TooManyDescriptors { descriptors: 17, limit: 16 })));
        let prefix = (MAX_FRAME_BYTES as u32 + 1).to_le_bytes();
        assert!(matches!(decode_all::<ToProcess>(&[&prefix]), Err(LinkError::TooLong { .. })));
    }

    fn any_message() -> impl Strategy<Value = FromProcess> {
        prop_oneof![
            (any::<u32>(), any::<u64>(), any::<u16>(), ".{0,20}")
                .prop_map(|(pid, generation, seat, build)| { FromProcess::Hello { pid, generation, seat, build } }),
            prop::collection::vec(".{0,20}", 0..4).prop_map(|listening| FromProcess::Ready { listening }),
            Just(FromProcess::Draining),
            any::<bool>().prop_map(|forced| FromProcess::Drained { forced }),
            (any::<u8>(), ".{0,20}").prop_map(|(exit_code, reason)| FromProcess::Fatal { exit_code, reason }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_split_of_the_stream_gives_the_same_messages(
            messages in prop::collection::vec(any_message(), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|message| encode(message).unwrap()).collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
            let expected: Vec<_> = messages.into_iter().map(Received::Message).collect();
            prop_assert_eq!(decode_all::<FromProcess>(&pieces).unwrap(), expected);
        }

        #[test]
        fn arbitrary_bytes_never_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let _ = decode_all::<FromProcess>(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let _ = decode_all::<ToProcess>(&[&framed(&String::from_utf8_lossy(&pieces.concat()))]);
        }
    }
}

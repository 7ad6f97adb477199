//! Batches: several messages in one body, in revision 2025-03-26 only.
//!
//! Source: specification 2025-03-26, "Base Protocol", batching.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::RpcError;

/// Most messages of a batch. Each may run a call, so it is about as many as a client may reasonably have under way at once.
pub const BATCH_MAX: usize = 64;

/// The messages of a batch, each as it was written.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    /// The first [`BATCH_MAX`] of them.
    messages: Vec<&'a RawValue>,
    /// Whether there are more, which were not kept: a body of any length costs no more than this.
    has_more: bool,
}

impl<'a> Batch<'a> {
    /// The messages, if they are as many as a batch may have.
    ///
    /// # Errors
    /// -32600: there are none, or too many.
    pub(crate) fn messages(self) -> Result<Vec<&'a RawValue>, RpcError> {
        match (self.messages.is_empty(), self.has_more) {
            (true, _) => Err(RpcError::invalid_request("a batch has at least one message")),
            (_, true) => {
                let text = format!("a batch has at most {BATCH_MAX} messages: send several batches");
                Err(RpcError::invalid_request(text))
            }
            _ => Ok(self.messages),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Batch<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Bounded)
    }
}

struct Bounded;

impl<'de> Visitor<'de> for Bounded {
    type Value = Batch<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut messages: A) -> Result<Self::Value, A::Error> {
        let mut batch = Batch { messages: Vec::new(), has_more: false };
        while batch.messages.len() < BATCH_MAX {
            let Some(message) = messages.next_element()? else { return Ok(batch) };
            batch.messages.push(message);
        }
        while messages.next_element::<IgnoredAny>()?.is_some() {
            batch.has_more = true;
        }
        Ok(batch)
    }
}

/// -32600: a batch of a client that does not speak 2025-03-26.
pub(crate) fn unexpected() -> RpcError {
    RpcError::invalid_request("a batch is not supported: send each message as a request of its own")
}

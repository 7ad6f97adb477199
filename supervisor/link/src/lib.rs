//! Messages between the supervisor and its processes, and their framing on a stream socket.
//!
//! A frame is a length (unsigned, 32 bits, little endian, at most [`MAX_FRAME_BYTES`]) and that many bytes of JSON: an object
//! with the protocol version `v`, a message name `type`, the number of `descriptors` that came with its first byte (if any), and
//! the fields of that message.
//!
//! Layout of this crate:
//! - `message.rs` the messages of both directions
//! - `frame.rs`   encoding and incremental decoding
//! - `error.rs`   what can fail
//! - `told.rs`    an error as the sentence of a message
//!
//! # Invariants
//!
//! - No IO: callers own the socket and its readiness.
//! - No bytes of the peer panic or make a decoder allocate more than one frame beyond what was pushed.
//! - A message of an unknown type is told by name and skipped, an unknown field is ignored: processes of two generations
//!   may talk to each other. What changes the meaning of a known message raises [`VERSION`].
//! - End of file means that the peer is gone or going; there is no message for it.

mod error;
mod frame;
mod message;
mod told;

pub use error::LinkError;
pub use frame::{Decoder, MAX_DESCRIPTORS, MAX_FRAME_BYTES, Received, VERSION, encode};
pub use message::{ANSWER_BYTES_MAX, FromProcess, Message, PAYLOAD_BYTES_MAX, TOPIC_BYTES_MAX, ToProcess};
pub use told::told;

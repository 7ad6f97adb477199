//! What can fail; each variant is a step.

/// Why a message could not be written or read. After a decoding error the link is to be closed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A message is larger than a frame may be.
    #[error("a message of {bytes} bytes is over the limit of {limit} bytes")]
    TooLong {
        /// Its size, in bytes.
        bytes: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// More descriptors than may travel with one message.
    #[error("a message with {descriptors} descriptors is over the limit of {limit}")]
    TooManyDescriptors {
        /// How many.
        descriptors: usize,
        /// The limit.
        limit: usize,
    },
    /// A message could not be written as a JSON object.
    #[error("a message could not be written as a JSON object")]
    Encode(#[source] Option<serde_json::Error>),
    /// A frame does not hold JSON.
    #[error("a frame does not hold JSON")]
    Json(#[source] serde_json::Error),
    /// A frame holds JSON that is no message.
    #[error("a frame holds no message: the field {field:?} is missing or of the wrong type")]
    NoMessage {
        /// The field at fault.
        field: &'static str,
    },
    /// The peer speaks another version.
    #[error("the peer speaks version {found} of the link, this program speaks {known}")]
    Version {
        /// Version found.
        found: u64,
        /// Version known.
        known: u64,
    },
    /// The fields of a known message are wrong.
    #[error("the message {name:?} has wrong fields")]
    Fields {
        /// The message's name.
        name: String,
        /// What is wrong with them.
        source: serde_json::Error,
    },
}

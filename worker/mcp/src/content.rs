//! Blocks of content that are no text form of a structured result: for tools, prompts and resources that have such.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// One block of content (specification 2026-07-28, `ContentBlock`).
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text.
    Text(String),
    /// An image, as bytes of `mime_type`.
    Image {
        /// The bytes, not encoded.
        data: Vec<u8>,
        /// Media type.
        mime_type: String,
    },
    /// Sound, likewise.
    Audio {
        /// The bytes, not encoded.
        data: Vec<u8>,
        /// Media type.
        mime_type: String,
    },
    /// A resource with what is in it.
    Resource(ResourceContents),
    /// A resource to be read.
    Link {
        /// Its URI.
        uri: String,
        /// Its name.
        name: String,
        /// Media type.
        mime_type: String,
    },
}

impl Content {
    /// As it stands on the wire.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => json!({ "type": "text", "text": text }),
            Self::Image { data, mime_type } => {
                json!({ "type": "image", "data": STANDARD.encode(data), "mimeType": mime_type })
            }
            Self::Audio { data, mime_type } => {
                json!({ "type": "audio", "data": STANDARD.encode(data), "mimeType": mime_type })
            }
            Self::Resource(contents) => json!({ "type": "resource", "resource": contents.to_json() }),
            Self::Link { uri, name, mime_type } => {
                json!({ "type": "resource_link", "uri": uri, "name": name, "mimeType": mime_type })
            }
        }
    }
}

/// What is in a resource (specification 2026-07-28, `TextResourceContents`, `BlobResourceContents`).
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceContents {
    /// Its URI.
    pub uri: String,
    /// Media type.
    pub mime_type: String,
    /// What is in it.
    pub body: ResourceBody,
}

/// Text or bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum ResourceBody {
    /// Text.
    Text(String),
    /// Bytes, not encoded.
    Blob(Vec<u8>),
}

impl ResourceContents {
    /// As it stands on the wire.
    pub fn to_json(&self) -> Value {
        match &self.body {
            ResourceBody::Text(text) => json!({ "uri": self.uri, "mimeType": self.mime_type, "text": text }),
            ResourceBody::Blob(bytes) => {
                json!({ "uri": self.uri, "mimeType": self.mime_type, "blob": STANDARD.encode(bytes) })
            }
        }
    }
}

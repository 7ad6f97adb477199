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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stand_on_the_wire_as_the_specification_says() {
        let contents = |body| ResourceContents { uri: "test://x".into(), mime_type: "text/x".into(), body };
        let text = contents(ResourceBody::Text("é\"".into()));
        let blob = contents(ResourceBody::Blob(vec![0, 255, 16]));
        let bytes = || vec![251, 255];
        for (block, wire) in [
            (Content::Text("a\nb".into()), json!({ "type": "text", "text": "a\nb" })),
            (
                Content::Image { data: bytes(), mime_type: "image/png".into() },
                json!({ "type": "image", "data": "+/8=", "mimeType": "image/png" }),
            ),
            (
                Content::Audio { data: Vec::new(), mime_type: "audio/wav".into() },
                json!({ "type": "audio", "data": "", "mimeType": "audio/wav" }),
            ),
            (
                Content::Resource(text),
                json!({ "type": "resource", "resource": { "uri": "test://x", "mimeType": "text/x", "text": "é\"" } }),
            ),
            (
                Content::Resource(blob),
                json!({ "type": "resource", "resource": { "uri": "test://x", "mimeType": "text/x", "blob": "AP8Q" } }),
            ),
            (
                Content::Link { uri: "test://x".into(), name: "x".into(), mime_type: "text/x".into() },
                json!({ "type": "resource_link", "uri": "test://x", "name": "x", "mimeType": "text/x" }),
            ),
        ] {
            assert_eq!(block.to_json(), wire);
        }
    }
}

//! What is kept.

use bytes::Bytes;

/// A result as its JSON fragments: every dialect wraps them, none parses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The tool answered.
    Result {
        /// JSON of the structured result.
        structured: Bytes,
        /// The same as a JSON string.
        text: Bytes,
    },
    /// The tool refused; JSON of the error.
    Error(Bytes),
}

impl Value {
    /// Its size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Result { structured, text } => structured.len() + text.len(),
            Self::Error(error) => error.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

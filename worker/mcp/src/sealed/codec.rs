//! The form of what is sealed: fields one after the other, numbers big endian, texts and bytes after their length in four bytes.

use super::error::SealError;

/// Writes fields.
#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// `form` tells this sequence of fields from all others.
    pub(super) fn new(form: u8) -> Self {
        Self(vec![form])
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// A text that is too long for its length to be written is cut off by the limits of its caller before.
    pub(super) fn text(self, text: &str) -> Self {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.bytes(&length.to_be_bytes()).bytes(text.as_bytes())
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Reads what [`Writer`] wrote, and nothing else.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], form: u8) -> Result<Self, SealError> {
        match bytes.split_first() {
            Some((first, rest)) if *first == form => Ok(Self(rest)),
            _ => Err(SealError::Form),
        }
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], SealError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(SealError::Form)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn number(&mut self) -> Result<u64, SealError> {
        self.bytes().map(u64::from_be_bytes)
    }

    pub(super) fn text(&mut self, bytes_max: usize) -> Result<&'a str, SealError> {
        let length = u32::from_be_bytes(self.bytes()?) as usize;
        if length > bytes_max {
            return Err(SealError::Form);
        }
        let (head, rest) = self.0.split_at_checked(length).ok_or(SealError::Form)?;
        self.0 = rest;
        std::str::from_utf8(head).map_err(|_| SealError::Form)
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), SealError> {
        if self.0.is_empty() { Ok(()) } else { Err(SealError::Form) }
    }
}

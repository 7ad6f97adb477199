//! The key under which a client sends a write once, however often it sends it.

use std::sync::Arc;

/// A client's idempotency key: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Arc<str>);

/// Longest key in bytes.
const BYTES_MAX: usize = 255;

/// What is no idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {BYTES_MAX} visible ASCII characters")]
pub struct NoKey;

impl IdempotencyKey {
    /// Reads a key as it stands.
    ///
    /// # Errors
    /// It is empty, too long, or holds something else than visible ASCII characters.
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        let fits = (1..=BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text.into())) } else { Err(NoKey) }
    }

    /// Reads the value of the header `Idempotency-Key`: a string of structured fields (RFC 9651, section 3.3.3), which is quoted
    /// and escapes `"` and `\\`, or the bare characters, as many clients send them.
    ///
    /// Source: draft-ietf-httpapi-idempotency-key-header-06, section 2.1.
    ///
    /// # Errors
    /// As [`IdempotencyKey::parse`], and for a string that is not closed or escapes something else.
    pub fn of_header(value: &str) -> Result<Self, NoKey> {
        let value = value.trim_matches([' ', '\t']);
        let Some(quoted) = value.strip_prefix('"') else { return Self::parse(value) };
        let mut key = String::with_capacity(quoted.len());
        let mut characters = quoted.chars();
        loop {
            match characters.next() {
                Some('"') => break,
                Some('\\') => key.push(characters.next().filter(|c| ['"', '\\'].contains(c)).ok_or(NoKey)?),
                Some(character) => key.push(character),
                None => return Err(NoKey),
            }
        }
        // Parameters may follow; none has a meaning.
        let rest = characters.as_str();
        if rest.is_empty() || rest.starts_with(';') { Self::parse(&key) } else { Err(NoKey) }
    }

    /// The key itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_may_be_quoted_or_bare_and_means_the_same() {
        let key = IdempotencyKey::parse("8e03978e-40d5").unwrap();
        for good in ["8e03978e-40d5", "\"8e03978e-40d5\"", "  \"8e03978e-40d5\" ", "\"8e03978e-40d5\";a=1"] {
            assert_eq!(IdempotencyKey::of_header(good), Ok(key.clone()), "{good}");
        }
        assert_eq!(IdempotencyKey::of_header(r#""a\"b\\c""#).unwrap().as_str(), r#"a"b\c"#);
        let longest = "x".repeat(BYTES_MAX);
        assert!(IdempotencyKey::of_header(&format!("\"{longest}\"")).is_ok());
        let long = format!("{longest}x");
        for bad in
            ["", "\"\"", "\"", "\"a", "\"a\\", "\"a\\b\"", "\"a\"b", "a b", "\"a b\"", "\u{e9}", "a\u{7f}", &long]
        {
            assert_eq!(IdempotencyKey::of_header(bad), Err(NoKey), "{bad:?}");
        }
    }
}

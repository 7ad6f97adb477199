//! Page tokens: where the next page starts, so that a page never skips or repeats a change that did not move.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::ChangesError;
use crate::text::iso_ms;

/// Longest token in characters.
const TOKEN_MAX: usize = 1024;

/// Length of `2026-01-01T00:00:00.000Z`.
const ISO_LEN: usize = 24;

/// The page a token leads to, and the change before its first one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) page: usize,
    pub(super) updated_at: String,
    pub(super) slug: String,
}

/// The fields of the fork's token: base64url JSON, `sortKey` = `<updatedAt>_<slug>`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    page: usize,
    timestamp: String,
    sort_key: String,
}

impl Token {
    pub(super) fn encode(&self, now_ms: i64) -> String {
        let (updated_at, slug) = (&self.updated_at, &self.slug);
        let wire = Wire { page: self.page, timestamp: iso_ms(now_ms), sort_key: format!("{updated_at}_{slug}") };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    pub(super) fn decode(text: &str) -> Result<Self, ChangesError> {
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
            let wire: Wire = serde_json::from_slice(&bytes).ok()?;
            let (updated_at, slug) = wire.sort_key.split_at_checked(ISO_LEN)?;
            let slug = slug.strip_prefix('_').filter(|slug| !slug.is_empty())?;
            let sound = updated_at.is_ascii() && updated_at.parse::<jiff::Timestamp>().is_ok() && wire.page > 1;
            sound.then(|| Self { page: wire.page, updated_at: updated_at.to_owned(), slug: slug.to_owned() })
        };
        if text.len() > TOKEN_MAX { Err(ChangesError::BadToken) } else { read().ok_or(ChangesError::BadToken) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_token_comes_back() {
        let token = Token { page: 2, updated_at: iso_ms(1_000), slug: "a_b".to_owned() };
        assert_eq!(Token::decode(&token.encode(0)).unwrap(), token);
    }

    #[test]
    fn anything_else_is_refused() {
        let page_one = Token { page: 1, updated_at: iso_ms(0), slug: "abc".to_owned() }.encode(0);
        for bad in ["", "x", "e30", "!!", &page_one, &"A".repeat(1025)] {
            assert!(matches!(Token::decode(bad), Err(ChangesError::BadToken)), "{bad}");
        }
    }
}

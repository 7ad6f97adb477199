//! `Mcp-Session-Id`, and what may be in one that was sealed.

use std::sync::LazyLock;

use task_mcp_mcp::sealed::{Keyring, Purpose, SESSION_TOKEN_BYTES_MAX, SealedSession};

use super::{genuine, keys, word};
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "session",
    bytes_max: SESSION_TOKEN_BYTES_MAX + 8,
    words: &["1", "2", "=", "2025-11-25", "2026-07-28", "2025-03-26", "\0\0\0\u{a}", "AAAA", "____"],
    read,
    reaches: &[
        "opened",
        "too-long",
        "forged",
        "expired",
        "principal",
        "sealed-form",
        "sealed-expired",
        "sealed-principal",
    ],
};

/// Sessions of the corpus end at the end of time, or at 1.
const NOW_MS: u64 = 1_000;
const PERSON: [u8; 32] = [7; 32];

static KEYS: LazyLock<Keyring> = LazyLock::new(keys);
static GENUINE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| genuine(TARGET.name));

fn read(input: &[u8]) -> &'static str {
    let is_genuine = GENUINE.iter().any(|text| text == input);
    match KEYS.open_session(input, &PERSON, NOW_MS) {
        Ok(session) => {
            assert!(is_genuine, "a text that nobody sealed was opened: {session:?}");
            return "opened";
        }
        Err(error) => {
            assert!(!is_genuine, "a text that an earlier build sealed is not opened: {error}");
            // What is no text at all may be what is in one.
            if !matches!(word(&error), "form") {
                return word(&error);
            }
        }
    }
    let Ok(text) = KEYS.seal(Purpose::Session, input) else { return "random" };
    match KEYS.open_session(text.as_bytes(), &PERSON, NOW_MS) {
        Ok(session) => {
            assert_eq!(again(&session).as_ref(), Some(&session));
            "sealed-opened"
        }
        Err(error) => match word(&error) {
            "form" => "sealed-form",
            "expired" => "sealed-expired",
            "principal" => "sealed-principal",
            "too-long" => "sealed-too-long",
            other => unreachable!("of what was sealed it was said: {other}"),
        },
    }
}

/// A session sealed and opened.
fn again(session: &SealedSession) -> Option<SealedSession> {
    let text = KEYS.seal_session(session).ok()?;
    assert!(text.len() <= SESSION_TOKEN_BYTES_MAX, "{} bytes", text.len());
    KEYS.open_session(text.as_bytes(), &PERSON, NOW_MS).ok()
}

//! `requestState`, and what may be in one that was sealed.

use std::sync::LazyLock;

use task_mcp_mcp::sealed::{Keyring, Purpose, REQUEST_STATE_BYTES_MAX, RoundCall};

use super::{genuine, keys, word};
use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "request_state",
    // Long ones are refused before anything is read of them; short ones are read more often in the same time.
    bytes_max: 2_048,
    words: &["1", "2", "=", "tools/call", "change.archive", "{}", "\0\0\0\0", "AAAA", "____"],
    read,
    reaches: &[
        "opened",
        "forged",
        "expired",
        "principal",
        "call",
        "sealed-form",
        "sealed-expired",
        "sealed-principal",
        "sealed-call",
    ],
};

/// States of the corpus end at the end of time, or at 1.
const NOW_MS: u64 = 1_000;
const CALL: RoundCall<'static> =
    RoundCall { person: &[7; 32], method: "tools/call", name: "change.archive", arguments: &[8; 32] };

static KEYS: LazyLock<Keyring> = LazyLock::new(keys);
static GENUINE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| genuine(TARGET.name));

fn read(input: &[u8]) -> &'static str {
    let is_genuine = GENUINE.iter().any(|text| text == input);
    match KEYS.open_round(input, CALL, NOW_MS) {
        Ok(round) => {
            assert!(is_genuine, "a text that nobody sealed was opened: {round:?}");
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
    let Ok(text) = KEYS.seal(Purpose::Round, input) else { return "random" };
    assert!(text.len() <= REQUEST_STATE_BYTES_MAX, "{} bytes", text.len());
    match KEYS.open_round(text.as_bytes(), CALL, NOW_MS) {
        Ok(round) => {
            let again = KEYS.seal_round(CALL, &round).ok();
            let again = again.and_then(|text| KEYS.open_round(text.as_bytes(), CALL, NOW_MS).ok());
            assert_eq!(again.as_ref(), Some(&round));
            "sealed-opened"
        }
        Err(error) => match word(&error) {
            "form" => "sealed-form",
            "expired" => "sealed-expired",
            "principal" => "sealed-principal",
            "call" => "sealed-call",
            other => unreachable!("of what was sealed it was said: {other}"),
        },
    }
}

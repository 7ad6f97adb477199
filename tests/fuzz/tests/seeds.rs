//! Makes the sealed inputs of the corpus, once for each form: `cargo nextest run -p task-mcp-fuzz --run-ignored only`. Those of
//! earlier forms stay, as long as they have to be opened.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use task_mcp_fuzz::targets::keys;
use task_mcp_mcp::sealed::{
    Purpose, REQUEST_STATE_BYTES_MAX, Round, RoundCall, SESSION_TOKEN_BYTES_MAX, SealedSession,
};
use task_mcp_mcp::{Capability, ClientCapabilities, Revision};

fn keep(target: &str, name: &str, input: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), input).unwrap();
}

#[test]
#[ignore = "writes tests/corpus"]
fn sessions() {
    let session = SealedSession {
        id: [3; 16],
        revision: Revision::V2025_11_25,
        capabilities: ClientCapabilities::NONE.with(Capability::Sampling),
        person: [7; 32],
        issued_ms: 1,
        expires_ms: u64::MAX,
        client_name: "client".to_owned(),
        client_version: "1.2.3".to_owned(),
    };
    let old = SealedSession { revision: Revision::V2025_06_18, client_name: String::new(), ..session.clone() };
    let stranger = SealedSession { person: [8; 32], ..session.clone() };
    let over = SealedSession { expires_ms: 1, ..session.clone() };
    let keys = keys();
    for (name, session) in [("genuine-1", &session), ("genuine-2", &old), ("stranger", &stranger), ("over", &over)] {
        let text = keys.seal_session(session).unwrap();
        keep("session", name, text.as_bytes());
        let plain = keys.open(Purpose::Session, "text", text.as_bytes(), SESSION_TOKEN_BYTES_MAX).unwrap();
        keep("session", &format!("plain-{name}"), &plain);
    }
    keep("session", "long", &[b'1'; SESSION_TOKEN_BYTES_MAX + 1]);
}

#[test]
#[ignore = "writes tests/corpus"]
fn request_states() {
    let call = RoundCall { person: &[7; 32], method: "tools/call", name: "change.archive", arguments: &[8; 32] };
    let round = Round {
        document_tag: "\"3f\"".to_owned(),
        answers: r#"{"confirm":{"action":"accept","content":{"ok":true}}}"#.to_owned(),
        nonce: [9; 16],
        expires_ms: u64::MAX,
        number: 2,
    };
    let (stranger, other) = (RoundCall { person: &[8; 32], ..call }, RoundCall { name: "change.open", ..call });
    let over = Round { expires_ms: 1, ..round.clone() };
    let bare = Round { document_tag: String::new(), answers: "{}".to_owned(), number: 3, ..round.clone() };
    let keys = keys();
    for (name, call, round) in [
        ("genuine-1", call, &round),
        ("genuine-2", call, &bare),
        ("stranger", stranger, &round),
        ("other-call", other, &round),
        ("over", call, &over),
    ] {
        let text = keys.seal_round(call, round).unwrap();
        keep("request_state", name, text.as_bytes());
        let plain = keys.open(Purpose::Round, "text", text.as_bytes(), REQUEST_STATE_BYTES_MAX).unwrap();
        keep("request_state", &format!("plain-{name}"), &plain);
    }
}

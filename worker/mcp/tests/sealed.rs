//! Nothing is taken back but what was sealed, by those and for that which it was sealed for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;

use task_mcp_mcp::sealed::{
    KEYS_MAX, Keyring, KeyringError, Purpose, QUESTION_ID_BYTES, REQUEST_STATE_BYTES_MAX, Round, RoundCall,
    SESSION_TOKEN_BYTES_MAX, SealError, SealedSession, random_id,
};
use task_mcp_mcp::{Capability, ClientCapabilities, Era, Revision};

const NOW: u64 = 1_800_000_000_000;

fn ring(secrets: &[&str]) -> Keyring {
    Keyring::new(&secrets.iter().map(|name| name.repeat(32)).collect::<Vec<_>>()).unwrap()
}

fn session() -> SealedSession {
    SealedSession {
        id: random_id().unwrap(),
        revision: Revision::V2025_11_25,
        capabilities: ClientCapabilities::NONE.with(Capability::Roots),
        person: [7; 32],
        issued_ms: NOW,
        expires_ms: NOW + 1,
        client_name: "client".to_owned(),
        client_version: "1.2.3".to_owned(),
    }
}

const CALL: RoundCall<'static> =
    RoundCall { person: &[7; 32], method: "tools/call", name: "change.archive", arguments: &[8; 32] };

fn round() -> Round {
    Round {
        document_tag: "\"tag\"".to_owned(),
        answers: r#"{"confirm":{"action":"accept"}}"#.to_owned(),
        nonce: random_id().unwrap(),
        expires_ms: NOW + 1,
        number: 2,
    }
}

/// Whether a text is taken back for one of the purposes.
fn opens(ring: &Keyring, text: &[u8]) -> bool {
    ring.open_session(text, &[7; 32], NOW).is_ok() || ring.open_round(text, CALL, NOW).is_ok()
}

#[test]
fn a_session_comes_back_as_it_was_and_its_id_is_visible_ascii_whatever_the_client_is_called() {
    let ring = ring(&["a"]);
    for name in ["", "client", &"x".repeat(1_000), &"\u{1f600}".repeat(1_000), "\u{0}\r\n"] {
        for revision in Revision::ALL.into_iter().filter(|revision| revision.era() == Era::Legacy) {
            let given = SealedSession {
                client_name: name.to_owned(),
                client_version: name.to_owned(),
                expires_ms: u64::MAX,
                revision,
                ..session()
            };
            let text = ring.seal_session(&given).unwrap();
            assert!(text.len() <= SESSION_TOKEN_BYTES_MAX, "{}", text.len());
            assert!(text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{text}");
            let found = ring.open_session(text.as_bytes(), &[7; 32], NOW).unwrap();
            assert!(name.starts_with(&found.client_name) && name.starts_with(&found.client_version));
            assert!(found.client_name.len() > 124 || found.client_name == name);
            assert!(found.client_version.len() > 60 || found.client_version == name);
            let (client_name, client_version) = (given.client_name.clone(), given.client_version.clone());
            assert_eq!(SealedSession { client_name, client_version, ..found }, given);
        }
    }
    assert_ne!(ring.seal_session(&session()).unwrap(), ring.seal_session(&session()).unwrap());
}

#[test]
fn there_is_one_text_for_what_was_sealed() {
    let ring = ring(&["a"]);
    // Of all remainders a base64 text may end with.
    for extra in 0..3 {
        let text = ring.seal_session(&SealedSession { client_name: "x".repeat(extra), ..session() }).unwrap();
        assert!(opens(&ring, text.as_bytes()));
        let (head, last) = text.split_at(text.len() - 1);
        for other in (0x21..=0x7e_u8).map(char::from).filter(|other| *other != last.chars().next().unwrap()) {
            assert!(!opens(&ring, format!("{head}{other}").as_bytes()), "{last} and {other}");
        }
        assert!(!opens(&ring, format!("{text}=").as_bytes()) && !opens(&ring, format!("{text}==").as_bytes()));
    }
}

#[test]
fn a_session_is_its_principals_alone_and_ends() {
    let ring = ring(&["a"]);
    let text = ring.seal_session(&session()).unwrap();
    let open = |person, now| ring.open_session(text.as_bytes(), &[person; 32], now).map(drop);
    assert_eq!(open(7, NOW), Ok(()));
    assert_eq!(open(8, NOW), Err(SealError::Principal));
    assert_eq!(open(7, NOW + 1), Err(SealError::Expired));
    let modern = SealedSession { revision: Revision::V2026_07_28, ..session() };
    let text = ring.seal_session(&modern).unwrap();
    assert_eq!(ring.open_session(text.as_bytes(), &[7; 32], NOW), Err(SealError::Form), "it has no sessions");
}

#[test]
fn a_state_belongs_to_one_call_and_ends() {
    let ring = ring(&["a"]);
    let given = round();
    let text = ring.seal_round(CALL, &given).unwrap();
    let open = |call, now| ring.open_round(text.as_bytes(), call, now);
    assert_eq!(open(CALL, NOW), Ok(given));
    assert_eq!(open(RoundCall { person: &[9; 32], ..CALL }, NOW), Err(SealError::Principal));
    assert_eq!(open(RoundCall { method: "prompts/get", ..CALL }, NOW), Err(SealError::Call { what: "method" }));
    assert_eq!(open(RoundCall { name: "change.open", ..CALL }, NOW), Err(SealError::Call { what: "name" }));
    assert_eq!(open(RoundCall { arguments: &[9; 32], ..CALL }, NOW), Err(SealError::Call { what: "arguments" }));
    assert_eq!(open(CALL, NOW + 1), Err(SealError::Expired));
}

#[test]
fn a_state_has_limits_and_the_largest_fits() {
    let ring = ring(&["a"]);
    let seal = |method: usize, name: usize, tag: usize, answers: usize| {
        let (method, name) = ("m".repeat(method), "n".repeat(name));
        let round = Round { document_tag: "t".repeat(tag), answers: "a".repeat(answers), ..round() };
        let call = RoundCall { method: &method, name: &name, ..CALL };
        ring.seal_round(call, &round).map(|text| (text.len(), ring.open_round(text.as_bytes(), call, NOW).is_ok()))
    };
    let SealError::TooLong { limit_bytes: answers, .. } = seal(1, 1, 1, 1 << 20).unwrap_err() else { panic!() };
    let (bytes, is_opened) = seal(64, 2_048, 256, answers).unwrap();
    assert!(is_opened && bytes <= REQUEST_STATE_BYTES_MAX && bytes > REQUEST_STATE_BYTES_MAX - 8, "{bytes}");
    for (what, sealed) in [
        ("method", seal(65, 1, 1, 1)),
        ("name", seal(1, 2_049, 1, 1)),
        ("document tag", seal(1, 1, 257, 1)),
        ("JSON of the answers", seal(1, 1, 1, answers + 1)),
    ] {
        assert!(matches!(sealed, Err(SealError::TooLong { what: named, .. }) if named == what), "{what}: {sealed:?}");
    }
    let long = vec![b'1'; REQUEST_STATE_BYTES_MAX + 1];
    assert!(matches!(ring.open_round(&long, CALL, NOW), Err(SealError::TooLong { .. })));
    let long = vec![b'1'; SESSION_TOKEN_BYTES_MAX + 1];
    assert!(matches!(ring.open_session(&long, &[7; 32], NOW), Err(SealError::TooLong { .. })));
}

#[test]
fn a_new_key_takes_over_and_the_old_one_opens_until_it_is_taken_away() {
    let (old, both, new) = (ring(&["old"]), ring(&["new", "old"]), ring(&["new"]));
    let of_old = old.seal_session(&session()).unwrap();
    let of_both = both.seal_session(&session()).unwrap();
    let opens = |ring: &Keyring, text: &str| ring.open_session(text.as_bytes(), &[7; 32], NOW).map(drop);
    assert_eq!([opens(&both, &of_old), opens(&both, &of_both), opens(&new, &of_both)], [Ok(()); 3]);
    assert_eq!([opens(&new, &of_old), opens(&old, &of_both)], [Err(SealError::Forged); 2]);
    let id = old.question_id(&[1; 16], NOW + 1).unwrap();
    assert_eq!(both.check_question_id(&id, &[1; 16], NOW), Ok(()));
    assert_eq!(new.check_question_id(&id, &[1; 16], NOW), Err(SealError::Forged));
}

#[test]
fn the_last_of_1024_keys_opens_and_one_more_is_refused() {
    let secrets: Vec<String> = (0..=KEYS_MAX).map(|number| format!("{number:032}")).collect();
    let last = Keyring::new(&secrets[KEYS_MAX - 1..KEYS_MAX]).unwrap().seal_session(&session()).unwrap();
    let all = Keyring::new(&secrets[..KEYS_MAX]).unwrap();
    assert!(all.open_session(last.as_bytes(), &[7; 32], NOW).is_ok());
    assert_eq!(Keyring::new(&secrets).unwrap_err(), KeyringError::TooMany { count: KEYS_MAX + 1 });
    assert_eq!(Keyring::new::<&str>(&[]).unwrap_err(), KeyringError::Empty);
    let short = Keyring::new(&["x".repeat(32), "x".repeat(31)]).unwrap_err();
    assert_eq!(short, KeyringError::TooShort { number: 2, bytes: 31 });
    assert!(!format!("{all:?}{short:?}{short}").contains("xxx"), "no text holds a secret");
}

#[test]
fn what_is_sealed_for_one_purpose_is_nothing_to_another() {
    let ring = ring(&["a"]);
    let session = ring.seal_session(&session()).unwrap();
    let round = ring.seal_round(CALL, &round()).unwrap();
    assert_eq!(ring.open_round(session.as_bytes(), CALL, NOW), Err(SealError::Forged));
    assert_eq!(
        ring.open(Purpose::Session, "session id", round.as_bytes(), REQUEST_STATE_BYTES_MAX),
        Err(SealError::Forged)
    );
}

#[test]
fn an_answer_is_told_from_one_that_nobody_asked_for() {
    let ring = ring(&["a"]);
    let id = ring.question_id(&[1; 16], NOW + 1).unwrap();
    assert_eq!(id.len(), QUESTION_ID_BYTES);
    assert_eq!(ring.check_question_id(&id, &[1; 16], NOW), Ok(()));
    assert_eq!(ring.check_question_id(&id, &[2; 16], NOW), Err(SealError::Forged), "another session was asked");
    assert_eq!(ring.check_question_id(&id, &[1; 16], NOW + 1), Err(SealError::Expired));
    assert_ne!(id, ring.question_id(&[1; 16], NOW + 1).unwrap());
    for wrong in ["", "1", "q1", &id[1..], &id.replace("q1", "q2"), &format!("{id}A")] {
        assert!(ring.check_question_id(wrong, &[1; 16], NOW).is_err(), "{wrong}");
    }
}

#[test]
fn a_form_of_another_version_is_not_ours() {
    let ring = ring(&["a"]);
    let text = ring.seal_session(&session()).unwrap();
    let plain = ring.open(Purpose::Session, "session id", text.as_bytes(), 512).unwrap();
    let sealed = |plain: &[u8]| ring.seal(Purpose::Session, plain).unwrap();
    let opened = |plain: &[u8]| ring.open_session(sealed(plain).as_bytes(), &[7; 32], NOW).map(drop);
    assert_eq!(opened(&plain), Ok(()));
    let other = [&[2], &plain[1..]].concat();
    let longer = [plain.as_slice(), &[0]].concat();
    for plain in [&other, &longer, &plain[..plain.len() - 1], &[][..], &[1][..]] {
        assert_eq!(opened(plain), Err(SealError::Form));
    }
    let other = format!("2{}", &text[1..]);
    assert_eq!(ring.open_session(other.as_bytes(), &[7; 32], NOW), Err(SealError::Form));
}

/// A text that was sealed for one of the purposes.
fn sealed(ring: &Keyring, is_session: bool) -> String {
    if is_session { ring.seal_session(&session()).unwrap() } else { ring.seal_round(CALL, &round()).unwrap() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_that_was_changed_is_refused(
        is_session: bool, at: prop::sample::Index, bit in 0..8_u32, cut: prop::sample::Index, more in "[A-Za-z0-9_=-]{1,8}",
        inserted: u8, other: prop::sample::Index,
    ) {
        let ring = ring(&["a", "b"]);
        let text = sealed(&ring, is_session).into_bytes();
        prop_assert!(opens(&ring, &text));
        let at = at.index(text.len());
        let mut flipped = text.clone();
        flipped[at] ^= 1 << bit;
        prop_assert!(!opens(&ring, &flipped), "bit {bit} of {at}");
        prop_assert!(!opens(&ring, &text[..cut.index(text.len())]));
        prop_assert!(!opens(&ring, &text[1 + cut.index(text.len())..]));
        prop_assert!(!opens(&ring, &[&text, more.as_bytes()].concat()));
        let mut longer = text.clone();
        longer.insert(at, inserted);
        prop_assert!(!opens(&ring, &longer));
        let mut swapped = text.clone();
        swapped.swap(at, other.index(text.len()));
        prop_assert!(swapped == text || !opens(&ring, &swapped));
        // The head of one text and the tail of another.
        let next = sealed(&ring, is_session).into_bytes();
        let spliced = [&text[..at.min(next.len())], &next[at.min(next.len())..]].concat();
        prop_assert!(spliced == text || spliced == next || !opens(&ring, &spliced));
    }

    #[test]
    fn every_bit_of_a_question_counts(at in 0..QUESTION_ID_BYTES, bit in 0..7_u32) {
        let ring = ring(&["a"]);
        let mut id = ring.question_id(&[1; 16], NOW + 1).unwrap().into_bytes();
        id[at] ^= 1 << bit;
        prop_assert!(ring.check_question_id(&String::from_utf8(id).unwrap(), &[1; 16], NOW).is_err());
    }

    #[test]
    fn bytes_that_nobody_sealed_are_refused(bytes: Vec<u8>, text in "1?[A-Za-z0-9_-]{0,600}") {
        let ring = ring(&["a", "b"]);
        prop_assert!(!opens(&ring, &bytes) && !opens(&ring, text.as_bytes()));
        prop_assert!(ring.check_question_id(&text, &[1; 16], NOW).is_err());
    }

    /// What is sealed by a server of another version, or by a mistake of this one.
    #[test]
    fn no_sealed_bytes_panic(bytes: Vec<u8>, is_ours: bool) {
        let ring = ring(&["a"]);
        let bytes = if is_ours { [&[1], bytes.as_slice()].concat() } else { bytes };
        let text = ring.seal(Purpose::Session, &bytes).unwrap();
        let _ = ring.open_session(text.as_bytes(), &[7; 32], NOW);
        let text = ring.seal(Purpose::Round, &bytes).unwrap();
        let _ = ring.open_round(text.as_bytes(), CALL, NOW);
    }

    #[test]
    fn states_come_back_as_they_were(
        tag in ".{0,40}", answers in ".{0,200}", nonce: [u8; 16], ends in 1..u64::MAX - NOW, number: u32, person: [u8; 32],
    ) {
        let ring = ring(&["a"]);
        let given = Round { document_tag: tag, answers, nonce, expires_ms: NOW + ends, number };
        let call = RoundCall { person: &person, ..CALL };
        let text = ring.seal_round(call, &given).unwrap();
        prop_assert_eq!(ring.open_round(text.as_bytes(), call, NOW), Ok(given));
    }
}

use proptest::prelude::*;
use task_mcp_config::{Settings, load, render};

use crate::fixture::Fixture;

const MARK: &str = "geheimgeheimgeheimgeheimgeheimge";

/// Every text and list of the settings whose `Debug` form hides its value must be hidden by `render`, too: a new secret
/// cannot be forgotten there.
#[test]
fn whatever_debug_hides_render_hides() {
    let settings = Fixture::new().loaded().settings;
    let json: serde_json::Value = serde_json::from_slice(&settings.snapshot().unwrap()).unwrap();
    let mut hidden = 0;
    for pointer in pointers(&json) {
        for value in [serde_json::json!(MARK), serde_json::json!([MARK])] {
            let mut changed = json.clone();
            *changed.pointer_mut(&pointer).unwrap() = value;
            let Ok(changed) = Settings::from_snapshot(&serde_json::to_vec(&changed).unwrap()) else { continue };
            if !format!("{changed:?}").contains(MARK) {
                hidden += 1;
                let shown = render(&changed);
                assert!(!shown.contains(MARK) && shown.contains("(redacted)"), "{pointer}: {shown}");
            }
        }
    }
    assert_eq!(hidden, 6, "tokens, sealing keys, admin token, sentinels' password and two URLs");
}

fn pointers(value: &serde_json::Value) -> Vec<String> {
    match value.as_object() {
        None => vec![String::new()],
        Some(fields) => fields
            .iter()
            .flat_map(|(name, value)| pointers(value).into_iter().map(move |rest| format!("/{name}{rest}")))
            .collect(),
    }
}

#[test]
fn rendered_settings_are_a_settings_file() {
    let fixture = Fixture::new().env("AUTH_TOKENS", MARK).set("server.workers=3").set("redis.url=redis://:pw@h");
    let shown = render(&fixture.loaded().settings);
    assert!(shown.contains("tokens = [\"(redacted)\"]") && shown.contains("redis://:(redacted)@h"), "{shown}");
    let again = Fixture::new().file(&shown).loaded().settings;
    assert_eq!(again.server.workers, 3);
}

#[test]
fn names_of_an_issuer_are_shown_without_credentials() {
    let fixture = Fixture::new()
        .set(&format!("auth.jwt.issuer=https://u:{MARK}@issuer.example.com/a"))
        .set(&format!("auth.jwt.jwks_url=https://issuer.example.com/keys?api={MARK}"));
    let shown = render(&fixture.loaded().settings);
    assert!(!shown.contains(MARK), "{shown}");
    assert!(shown.contains("issuer = \"https://(redacted)@issuer.example.com/a\""), "{shown}");
    assert!(shown.contains("jwks_url = \"https://issuer.example.com/keys?api=(redacted)\""), "{shown}");
}

#[test]
fn no_message_repeats_a_secret() {
    let wrong = format!("{MARK} {MARK}");
    let cases = [
        Fixture::new().set(&format!("admin.token={wrong}")),
        Fixture::new().set(&format!("admin.tokens:{MARK}")),
        Fixture::new().env("AUTH_TOKENS", &wrong),
        Fixture::new().env("TASK_MCP_AUTH__TOKENS", &format!("[\"{MARK}\" {MARK}]")),
        Fixture::new().env("TASK_MCP_AUTH__TOKENZ", MARK),
        Fixture::new().file(&format!("auth.tokens = \"{MARK}\"")),
        Fixture::new().file(&format!("auth.tokens = [\"{MARK}\"")),
        Fixture::new().file(&format!("auth.token = \"{MARK}\"")),
        Fixture::new().set(&format!("auth.sealing_keys={}", &MARK[..20])),
        Fixture::new().set(&format!("auth.jwt.jwks_url=ftp://u:{MARK}@h")),
        Fixture::new().set(&format!("auth.jwt.jwks_url=ftp://h/?key={MARK}")),
        Fixture::new().env("REDIS_URL", MARK),
        Fixture::new().env("REDIS_URL", &format!("{MARK}://h")),
        Fixture::new().env("REDIS_URL", &format!("redis://:{MARK}/@h")),
        Fixture::new().file(&format!("redis.url = \"redis://h/{MARK}\"")),
        Fixture::new().env("DATABASE_URL", &format!("host=h password={MARK}")),
        Fixture::new().set(&format!("store.postgres.url=postgres://u:{MARK}?@h")),
    ];
    for case in cases {
        let error = load(&case.sources).unwrap_err();
        assert!(!format!("{error} {error:?} {:?}", case.sources).contains(&MARK[..20]), "{error}");
    }
}

proptest! {
    #[test]
    fn no_password_of_a_url_is_shown(password in "[!-~]{6,20}", user in "[a-z]{0,5}", host in "[A-Z]{1,5}") {
        let mut settings: Settings = toml::from_str(task_mcp_config::DEFAULT_TOML).unwrap();
        settings.redis.url = task_mcp_config::settings::Secret::new(format!("redis://{user}:{password}@{host}:1/0"));
        let shown = render(&settings);
        let url = format!("url = \"redis://{user}:(redacted)@{host}:1/0\"");
        prop_assert!(shown.contains(&url), "{}", shown);
    }
}

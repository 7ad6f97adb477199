use proptest::prelude::*;
use task_mcp_config::load;

use crate::fixture::Fixture;

const NAMES: &[&str] = &[
    "server.listen",
    "server.workers",
    "auth.tokens",
    "auth.jwt",
    "store",
    "store.root",
    "store.postgres.url",
    "cache.backend",
    "limits.trusted_proxies",
    "server.public_url",
    "nothing",
];

/// Text that is likely to get past the first check, and text that is not.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "[\\[\\]{}\"',:=.0-9a-f/@-]{0,20}",
        Just("[\"a\", 'b']".to_owned()),
        Just("https://[::1]:8443".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => proptest::sample::select(NAMES).prop_map(str::to_owned), 1 => "[a-z_.]{0,30}", 1 => ".{0,20}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn load_never_panics(
        lines in proptest::collection::vec((name(), value()), 0..6),
        env in proptest::collection::vec((name(), value()), 0..6),
        aliases in proptest::collection::vec((proptest::sample::select(&["HOST", "PORT", "RATE_LIMIT", "TLS_CERT"][..]), value()), 0..3),
        set in proptest::collection::vec((name(), value()), 0..4),
    ) {
        let text: Vec<_> = lines.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let mut fixture = Fixture::new().file(&text.join("\n"));
        for (name, value) in env {
            let name = format!("TASK_MCP_{}", name.to_uppercase().replace('.', "__"));
            fixture = fixture.env(&name, &value);
        }
        for (name, value) in aliases {
            fixture = fixture.env(name, &value);
        }
        for (name, value) in set {
            fixture = fixture.set(&format!("{name}={value}"));
        }
        if let Err(error) = load(&fixture.sources) {
            prop_assert!(!error.to_string().chars().any(|c| c.is_control() && c != '\n'), "{error:?}");
        }
    }

    #[test]
    fn load_never_panics_on_any_file(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let fixture = Fixture::new();
        std::fs::write(fixture.dir.path().join("task-mcp.toml"), bytes).unwrap();
        let _ = load(&fixture.sources);
    }
}

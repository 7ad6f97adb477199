//! Bad settings are all named at once, and nothing starts with them.

use std::fs;

use crate::support::{Server, Tree, run_alone};

const BAD: &str = "
[server]
workers = \"many\"
wrokers = 2

[limits]
body_bytes = -1

[supervisor]
drain_timeout_s = 0.5

[nonsense]
key = 1
";

/// What each of the mistakes above must be called by.
const NAMES: [&str; 5] =
    ["server.workers", "server.wrokers", "limits.body_bytes", "supervisor.drain_timeout_s", "nonsense"];

#[test]
fn every_bad_setting_is_named_at_once_and_serve_exits_78() {
    let tree = Tree::new();
    let (code, stderr) = Server::build(tree.root()).settings(BAD).start_refused();
    assert_eq!(code, 78, "{stderr}");
    for name in NAMES {
        assert!(stderr.contains(name), "{name} is missing in: {stderr}");
    }
    assert!(stderr.contains("settings.toml"), "the file is named: {stderr}");
}

#[test]
fn check_finds_the_same_without_starting_anything() {
    let tree = Tree::new();
    fs::write(tree.path("bad.toml"), BAD).unwrap();
    let checked = run_alone(tree.root(), &["check", "--config", "bad.toml"]);
    assert_eq!(checked.code, 78, "{checked:?}");
    for name in NAMES {
        assert!(format!("{}{}", checked.stdout, checked.stderr).contains(name), "{name} is missing in: {checked:?}");
    }
    fs::write(tree.path("good.toml"), "[server]\nworkers = 2\n").unwrap();
    let checked = run_alone(tree.root(), &["check", "--config", "good.toml"]);
    assert_eq!(checked.code, 0, "{checked:?}");
}

#[test]
fn an_address_beyond_this_machine_without_tokens_is_refused() {
    let tree = Tree::new();
    let (code, stderr) = Server::build(tree.root()).set("server.listen", "0.0.0.0:0").start_refused();
    assert_eq!(code, 78, "{stderr}");
    assert!(stderr.contains("auth.tokens"), "the remedy is named: {stderr}");
}

#[test]
fn unknown_words_on_the_command_line_are_a_usage_error() {
    let tree = Tree::new();
    assert_eq!(run_alone(tree.root(), &["serve", "--frobnicate"]).code, 64);
    assert_eq!(run_alone(tree.root(), &["frobnicate"]).code, 64);
}

#[test]
fn shown_settings_keep_secrets_to_themselves() {
    let tree = Tree::new();
    let secret = "a-token-that-nobody-may-read-0123456789";
    fs::write(tree.path("secret.toml"), format!("[auth]\ntokens = [\"{secret}\", \"12345678901234567890\"]\n"))
        .unwrap();
    let shown = run_alone(tree.root(), &["config", "show", "--config", "secret.toml"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.stdout.contains("tokens") && shown.stdout.contains("drain_timeout_s"), "{shown:?}");
    for secret in [secret, "12345678901234567890"] {
        assert!(!shown.stdout.contains(secret) && !shown.stderr.contains(secret), "{shown:?}");
    }
}

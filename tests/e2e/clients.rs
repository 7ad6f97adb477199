//! The official SDKs of Python and TypeScript, in both eras, as agents and IDEs use them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::support::{Server, Tree, finish};

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Runs a client's script: it lists the tools, lists, opens and shows a change, and archives a prepared one.
fn drive(interpreter: &Path, script: &Path, mode: &str) {
    assert!(interpreter.exists(), "{} is missing; scripts/test installs the clients", interpreter.display());
    let tree = Tree::new();
    tree.add_ready_change("prepared");
    let server = Server::build(tree.root()).start();
    let mut command = Command::new(interpreter);
    command.arg(script).arg(server.url()).arg(mode);
    let finished = finish(command, Duration::from_secs(60));
    assert_eq!(finished.code, 0, "{mode}: {}\n{}", finished.stdout, finished.stderr);

    let seen: Value =
        serde_json::from_str(finished.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    let expected = if mode == "legacy" { "2025-11-25" } else { "2026-07-28" };
    assert_eq!(seen["protocolVersion"], expected, "{mode}: {seen}");
    assert_eq!(seen["firstTool"], "changes.active");
    assert!(tree.path("openspec/changes/from-a-client/proposal.md").exists());
    assert!(tree.archived("prepared").is_some());
}

fn python(mode: &str) {
    let folder = clients().join("python");
    drive(&folder.join(".venv/bin/python"), &folder.join("client.py"), mode);
}

fn node(mode: &str) {
    let folder = clients().join("node");
    let installed = folder.join("node_modules/@modelcontextprotocol/client/package.json");
    assert!(installed.exists(), "{} is missing; scripts/test installs the clients", installed.display());
    drive(&find("node"), &folder.join("client.mjs"), mode);
}

/// A program on the `PATH`.
fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
        .unwrap_or_else(|| name.into())
}

#[test]
fn the_python_sdk_works_in_the_older_era() {
    python("legacy");
}

#[test]
fn the_python_sdk_works_in_the_new_era() {
    python("2026-07-28");
}

#[test]
fn the_python_sdk_finds_the_new_era_by_itself() {
    python("auto");
}

#[test]
fn the_typescript_sdk_works_in_the_older_era() {
    node("legacy");
}

#[test]
fn the_typescript_sdk_works_in_the_new_era() {
    node("2026-07-28");
}

#[test]
fn the_typescript_sdk_finds_the_new_era_by_itself() {
    node("auto");
}

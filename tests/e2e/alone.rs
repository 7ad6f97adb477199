//! Commands that run without the server, and beside it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Caller, Dialect, Server, Tree, eventually, run_alone};

#[test]
fn a_tool_is_called_without_a_server() {
    let tree = Tree::new();
    tree.add_ready_change("alone");
    let called = run_alone(tree.root(), &["call", "changes.active", "{}"]);
    assert_eq!(called.code, 0, "{called:?}");
    let printed: Value = serde_json::from_str(&called.stdout).unwrap_or_else(|error| panic!("{error}: {called:?}"));
    assert!(printed.to_string().contains("alone"), "{printed}");
    let failed = run_alone(tree.root(), &["call", "change.show", r#"{"slug":"no-such-change"}"#]);
    assert_ne!(failed.code, 0, "{failed:?}");
    assert!(format!("{}{}", failed.stdout, failed.stderr).contains("ENOCHANGE"), "{failed:?}");
}

#[test]
fn the_openspec_commands_list_and_archive() {
    let tree = Tree::new();
    tree.add_ready_change("by-command");
    let listed = run_alone(tree.root(), &["openspec", "list", "--json"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed["changes"][0]["name"], "by-command");
    assert_eq!((&listed["changes"][0]["completedTasks"], &listed["changes"][0]["totalTasks"]), (&json!(1), &json!(1)));
    let archived = run_alone(tree.root(), &["openspec", "archive", "by-command", "--yes"]);
    assert_eq!(archived.code, 0, "{archived:?}");
    let folder = tree.archived("by-command").expect("it is in the archive");
    assert!(!tree.path(&format!("{folder}/receipt.json")).exists(), "the CLI writes no receipt");
}

#[test]
fn commands_work_beside_a_server_which_sees_what_they_did() {
    let tree = Tree::new();
    tree.add_ready_change("beside");
    let server = Server::build(tree.root()).start();
    let caller = Caller::new(&server, Dialect::Modern);
    assert_eq!(caller.call("changes.active", json!({})).ok()["total"], 1);
    let opened = run_alone(tree.root(), &["call", "change.open", r#"{"slug":"from-the-shell","title":"Shell"}"#]);
    assert_eq!(opened.code, 0, "{opened:?}");
    let archived = run_alone(tree.root(), &["openspec", "archive", "beside", "--yes"]);
    assert_eq!(archived.code, 0, "{archived:?}");
    eventually(Duration::from_secs(2), "the server sees both", || {
        let active = caller.call("changes.active", json!({})).ok();
        (active["total"] == 1 && active["items"][0]["slug"] == "from-the-shell").then_some(())
    });
}

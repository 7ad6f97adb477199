//! Start, open, list, archive in every dialect, with the files they leave.

use serde_json::{Value, json};
use task_mcp_bench::Request;

use crate::support::{Answer, Caller, Dialect, Server, Session, Tree, modern};

#[test]
fn a_change_is_opened_listed_and_archived_over_json_rpc_of_2026() {
    walk(Dialect::Modern);
}

#[test]
fn a_change_is_opened_listed_and_archived_over_json_rpc_of_2025() {
    walk(Dialect::Legacy);
}

#[test]
fn a_change_is_opened_listed_and_archived_over_ndjson() {
    walk(Dialect::Ndjson);
}

#[test]
fn a_change_is_opened_listed_and_archived_over_sse() {
    walk(Dialect::Sse);
}

fn walk(dialect: Dialect) {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let caller = Caller::new(&server, dialect);

    let opened = caller
        .call("change.open", json!({"title": "Lock accounts", "slug": "lock-accounts", "template": "bugfix"}))
        .ok();
    assert_eq!(opened["slug"], "lock-accounts");
    assert!(tree.read("openspec/changes/lock-accounts/proposal.md").contains("Lock accounts"));
    assert!(tree.path("openspec/changes/lock-accounts/tasks.md").exists());

    assert_eq!(slugs(&caller), ["lock-accounts"]);
    let shown = caller.call("change.show", json!({"slug": "lock-accounts"})).ok();
    assert_eq!(shown["slug"], "lock-accounts", "{shown}");

    tree.make_ready("lock-accounts");
    let archived = caller.call("change.archive", json!({"slug": "lock-accounts"})).ok();
    assert_eq!((&archived["slug"], &archived["archived"]), (&json!("lock-accounts"), &json!(true)), "{archived}");

    assert!(!tree.path("openspec/changes/lock-accounts").exists(), "it has left the active changes");
    let folder = tree.archived("lock-accounts").expect("it is in the archive");
    let receipt: Value = serde_json::from_str(&tree.read(&format!("{folder}/receipt.json"))).unwrap();
    assert_eq!(receipt["slug"], "lock-accounts");
    assert!(receipt["archivedAt"].is_string() && receipt["toolVersions"].is_object(), "{receipt}");
    let spec = tree.read("openspec/specs/accounts/spec.md");
    assert!(spec.contains("Lock after failures of lock-accounts") && spec.contains("Right password"), "{spec}");
    assert_eq!(slugs(&caller), [""; 0]);

    let again = caller.call("change.archive", json!({"slug": "lock-accounts"})).ok();
    assert_eq!(again["alreadyArchived"], true, "{again}");
}

fn slugs(caller: &Caller) -> Vec<String> {
    let active = caller.call("changes.active", json!({})).ok();
    let items = active["items"].as_array().unwrap_or_else(|| panic!("items: {active}"));
    items.iter().map(|item| item["slug"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn opening_the_same_change_again_resumes_it() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let caller = Caller::new(&server, Dialect::Modern);
    let open = json!({"title": "Twice", "slug": "opened-twice"});
    assert_eq!(caller.call("change.open", open.clone()).ok()["created"], true);
    tree.write("openspec/changes/opened-twice/proposal.md", "# Change: mine\n");
    assert_eq!(caller.call("change.open", open).ok()["created"], false);
    assert_eq!(tree.read("openspec/changes/opened-twice/proposal.md"), "# Change: mine\n", "work is kept");
}

#[test]
fn pages_hold_every_change_once() {
    let tree = Tree::new();
    for number in 0..25 {
        tree.add_ready_change(&format!("change-{number:02}"));
    }
    let server = Server::build(tree.root()).start();
    let caller = Caller::new(&server, Dialect::Modern);
    let (mut seen, mut arguments) = (Vec::new(), json!({"pageSize": 10}));
    for _ in 0..3 {
        let page = caller.call("changes.active", arguments.clone()).ok();
        assert_eq!(page["total"], 25, "{page}");
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["slug"].as_str().unwrap().to_owned()));
        match page["nextPageToken"].as_str() {
            Some(token) => arguments["pageToken"] = json!(token),
            None => break,
        }
    }
    seen.sort();
    let all: Vec<String> = (0..25).map(|number| format!("change-{number:02}")).collect();
    assert_eq!(seen, all);
}

#[test]
fn changes_active_is_listed_first_and_works_without_arguments() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let modern = Answer::new(server.send(&modern("tools/list", json!({}))));
    let legacy = Session::open(&server, None).call("tools/list", json!({}));
    for answer in [modern, legacy] {
        let tools = answer.result()["tools"].as_array().unwrap();
        assert_eq!(tools[0]["name"], "changes.active");
        for tool in tools {
            assert!(tool["description"].is_string() && tool["inputSchema"]["type"] == "object", "{tool}");
        }
    }
}

#[test]
fn streams_tell_proxies_not_to_hold_them_back() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let body = json!({"tool": "changes.active", "input": {}, "apiVersion": "1.0.0"}).to_string();
    let events = server.send(&Request::post_json("/sse", body.clone()).header("X-Request-ID", "request-17"));
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert_eq!(events.header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(events.header("x-accel-buffering"), Some("no"));
    assert!(events.text().contains("id: request-17"), "the client's request id is the event's: {}", events.text());
    let lines = server.send(&Request::post_json("/mcp", body));
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(lines.header("cache-control"), Some("no-cache"));
}

//! Broken and hostile calls: an error in the dialect's own form, and not a byte changed on disk.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::{Caller, Dialect, Fault, Server, Tree};

/// Sends every case in every dialect; each must be an error, and the tree must stay as it was.
fn assert_refused(tree: &Tree, cases: &[(&str, Value)], judge: impl Fn(&str, &Value, &Fault)) {
    let server = Server::build(tree.root()).start();
    let before = tree.fingerprint();
    let workers = server.wait_workers(2, &[]);
    for dialect in Dialect::ALL {
        let caller = Caller::new(&server, dialect);
        for (tool, arguments) in cases {
            let reply = caller.call(tool, arguments.clone());
            assert!(reply.status < 500, "{dialect:?} {tool} {arguments}: {}", reply.status);
            judge(tool, arguments, &reply.fault());
        }
    }
    assert_eq!(tree.fingerprint(), before, "nothing was written");
    assert_eq!(server.workers(), workers, "nobody died of it");
}

fn names(code: &str) -> impl Fn(&str, &Value, &Fault) {
    move |tool, arguments, fault| assert!(fault.text.contains(code), "{tool} {arguments}: {}", fault.text)
}

#[test]
fn slugs_that_are_no_slugs_are_bad_slugs() {
    let tree = Tree::new();
    tree.add_ready_change("honest");
    let long = "a".repeat(65);
    let slugs = [
        "..",
        ".",
        "",
        "../honest",
        "honest/..",
        "honest/../honest",
        "/etc/passwd",
        "honest\u{0}",
        "a\u{0}b",
        "-honest",
        "honest-",
        "Honest",
        "hоnest",
        "ｈｏｎｅｓｔ",
        "honest\u{200b}",
        "honest ",
        "ho nest",
        "honest\n",
        "%2e%2e%2fhonest",
        "honest\\..",
        "ab",
        long.as_str(),
        "archive/..",
        "..\u{2215}honest",
    ];
    let tools = ["change.show", "change.archive"];
    let mut cases: Vec<(&str, Value)> =
        slugs.iter().flat_map(|slug| tools.map(|tool| (tool, json!({"slug": slug})))).collect();
    cases.extend(slugs.iter().map(|slug| ("change.open", json!({"slug": slug, "title": "Bad"}))));
    assert_refused(&tree, &cases, names("EBADSLUG"));
}

#[test]
fn a_change_that_does_not_exist_is_named() {
    let tree = Tree::new();
    let cases =
        [("change.show", json!({"slug": "no-such-change"})), ("change.archive", json!({"slug": "no-such-change"}))];
    assert_refused(&tree, &cases, |tool, arguments, fault| {
        names("ENOCHANGE")(tool, arguments, fault);
        names("no-such-change")(tool, arguments, fault);
    });
}

#[test]
fn an_unknown_tool_is_named() {
    let tree = Tree::new();
    let cases = [("change.destroy", json!({})), ("Changes.Active", json!({})), ("../changes.active", json!({}))];
    assert_refused(&tree, &cases, |tool, arguments, fault| match tool {
        "../changes.active" => assert!(fault.text.contains(tool) || fault.text.contains("INVALID_TOOL_NAME")),
        _ => names(tool)(tool, arguments, fault),
    });
}

#[test]
fn wrong_types_name_the_field() {
    let tree = Tree::new();
    let cases = [
        ("change.open", json!({"slug": 7, "title": "A number"}), "slug"),
        ("change.open", json!({"slug": "no-title"}), "title"),
        ("change.open", json!({"slug": "empty-title", "title": ""}), "title"),
        ("change.open", json!({"slug": "odd-template", "title": "T", "template": "epic"}), "template"),
        ("change.open", json!({"slug": "odd-ttl", "title": "T", "ttl": 5}), "ttl"),
        ("change.open", json!({"slug": "odd-ttl", "title": "T", "ttl": "1e9"}), "ttl"),
        ("change.open", json!({"slug": "odd-ttl", "title": "T", "ttl": 86401}), "ttl"),
        ("changes.active", json!({"pageSize": 0}), "pageSize"),
        ("changes.active", json!({"pageSize": 201}), "pageSize"),
        ("changes.active", json!({"pageSize": "all"}), "pageSize"),
        ("change.show", json!({}), "slug"),
        ("change.show", json!({"slug": ["a", "b"]}), "slug"),
        ("change.archive", json!({"slug": null}), "slug"),
    ];
    let calls: Vec<(&str, Value)> = cases.iter().map(|(tool, arguments, _)| (*tool, arguments.clone())).collect();
    assert_refused(&tree, &calls, |tool, arguments, fault| {
        let (_, _, field) = cases.iter().find(|case| case.0 == tool && case.1 == *arguments).unwrap();
        names(field)(tool, arguments, fault);
    });
}

#[test]
fn arguments_that_are_no_object_are_refused() {
    let tree = Tree::new();
    let cases = [json!([]), json!("slug"), json!(7), json!([{"slug": "a"}])];
    let cases = cases.map(|arguments| ("change.show", arguments));
    assert_refused(&tree, &cases, |_, _, _| {});
}

#[test]
fn a_link_out_of_the_tree_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("proposal.md");
    std::fs::write(&secret, "# Change: a secret of another folder\n").unwrap();
    let tree = Tree::new();
    symlink(outside.path(), tree.path("openspec/changes/linked-folder")).unwrap();
    tree.add_ready_change("linked-file");
    std::fs::remove_file(tree.path("openspec/changes/linked-file/proposal.md")).unwrap();
    symlink(&secret, tree.path("openspec/changes/linked-file/proposal.md")).unwrap();
    let cases = [
        ("change.show", json!({"slug": "linked-folder"})),
        ("change.archive", json!({"slug": "linked-folder"})),
        ("change.open", json!({"slug": "linked-folder", "title": "Mine"})),
        ("change.show", json!({"slug": "linked-file"})),
        ("change.archive", json!({"slug": "linked-file"})),
    ];
    assert_refused(&tree, &cases, |tool, arguments, fault| {
        assert!(!fault.text.contains("a secret of another folder"), "{tool} {arguments}: {}", fault.text);
    });
    let listed = crate::support::run_alone(tree.root(), &["call", "changes.active", "{}"]);
    assert!(!listed.stdout.contains("a secret of another folder"), "{listed:?}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1, "nothing was written outside");
}

#[test]
fn a_spec_without_structure_is_not_merged_into() {
    let tree = Tree::new();
    tree.write("openspec/specs/accounts/spec.md", "Just some prose, without any heading at all.\n");
    tree.add_ready_change("onto-prose");
    tree.add_ready_change("without-delta");
    tree.write("openspec/changes/without-delta/specs/accounts/spec.md", "Only prose here, too.\n");
    let cases = ["onto-prose", "without-delta"].map(|slug| ("change.archive", json!({"slug": slug})));
    assert_refused(&tree, &cases, names("EBADSHAPE"));
}

#[test]
fn bodies_that_are_no_call_are_refused_in_the_dialects_form() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let before = tree.fingerprint();
    for dialect in Dialect::ALL {
        let caller = Caller::new(&server, dialect);
        for body in ["{\"jsonrpc\":", "not json", "\u{feff}{", "[1,2", "{\"a\":1}{\"b\":2}", "null", "7", "\"text\""] {
            let reply = caller.send_body(body);
            assert!(is_refusal(dialect, reply.status), "{dialect:?} {body:?}: {}", reply.status);
            reply.fault();
        }
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let call = caller.body("changes.active", &json!({"deep": "HERE"})).replace("\"HERE\"", &deep);
        let reply = caller.send_body(&call);
        assert!(is_refusal(dialect, reply.status), "{dialect:?}, 10,000 levels: {}", reply.status);
        reply.fault();
    }
    for body in [json!({"tool": 7, "input": {}}), json!({"tool": "changes.active", "input": "x"}), json!({"input": {}})]
    {
        let reply = Caller::new(&server, Dialect::Sse).send_body(&body.to_string());
        assert!(reply.status < 500, "{body}");
        reply.fault();
    }
    assert_eq!(tree.fingerprint(), before);
    Caller::new(&server, Dialect::Modern).call("changes.active", json!({})).ok();
}

/// 400; the older era may tell it inside a 200.
fn is_refusal(dialect: Dialect, status: u16) -> bool {
    status == 400 || (dialect == Dialect::Legacy && status == 200)
}

#[test]
fn bytes_that_are_no_utf8_are_refused() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    for path in ["/mcp", "/sse"] {
        let mut body =
            json!({"tool": "change.open", "input": {"slug": "odd-bytes", "title": "T?"}}).to_string().into_bytes();
        let at = body.iter().position(|byte| *byte == b'?').unwrap();
        body[at] = 0xff;
        let answer = server.send(&task_mcp_bench::Request::post_json(path, body));
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
    }
    assert!(!tree.path("openspec/changes/odd-bytes").exists());
}

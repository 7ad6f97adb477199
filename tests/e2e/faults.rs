//! Tools that fail or panic.

use serde_json::json;

use crate::support::{Caller, Dialect, Server, Tree};

#[test]
fn a_panic_in_a_tool_is_an_error_and_the_worker_lives() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    let workers = server.wait_workers(2, &[]);
    for dialect in Dialect::ALL {
        let caller = Caller::new(&server, dialect);
        for _ in 0..5 {
            caller.call("test_panic", json!({})).fault();
        }
        caller.call("changes.active", json!({})).ok();
    }
    assert_eq!(server.workers(), workers);
}

#[test]
fn a_tools_error_arrives_with_code_and_message_in_every_dialect() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    for dialect in Dialect::ALL {
        let reply =
            Caller::new(&server, dialect).call("test_fail", json!({"code": "ETEST", "message": "the disk is on fire"}));
        assert_eq!(reply.status, 200, "{dialect:?}: a tool's error is not an error of HTTP");
        let fault = reply.fault();
        assert!(
            fault.text.contains("ETEST") && fault.text.contains("the disk is on fire"),
            "{dialect:?}: {}",
            fault.text
        );
    }
    let errors = server.metrics().sum("tool_errors_total", &[("tool", "test_fail"), ("code", "ETEST")]);
    assert_eq!(errors, 4.0);
}

#[test]
fn the_deadline_cuts_a_tool_that_reads_and_none_that_writes() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("tools.deadline_ms", 100).start();
    for dialect in Dialect::ALL {
        let caller = Caller::new(&server, dialect);
        let fault = caller.call("test_sleep", json!({"ms": 5_000})).fault();
        assert!(
            fault.text.contains("DEADLINE_EXCEEDED") && fault.text.contains("100 ms"),
            "{dialect:?}: {}",
            fault.text
        );
        assert_eq!(caller.call("test_sleep_write", json!({"ms": 300})).ok()["slept_ms"], 300);
    }
}

#[test]
fn an_answer_over_the_limit_is_an_error_but_what_was_written_is_told() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("limits.response_bytes", 1024).start();
    let caller = Caller::new(&server, Dialect::Modern);
    for number in 0..12 {
        let slug = format!("a-change-to-fill-the-page-{number}");
        caller.call("change.open", json!({"slug": slug, "title": "A title"})).ok();
    }
    let fault = caller.call("changes.active", json!({})).fault();
    assert!(
        fault.text.contains("RESPONSE_TOO_LARGE") && fault.text.contains("limits.response_bytes"),
        "{}",
        fault.text
    );
    caller.call("changes.active", json!({"pageSize": 1})).ok();
}

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

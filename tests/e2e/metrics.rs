//! What is counted is what was sent.

use std::time::Duration;

use serde_json::json;
use task_mcp_bench::{Outcome, Plan, Request, Reuse, run};

use crate::support::{Caller, Dialect, Server, Tree, eventually, modern_call};

#[test]
fn requests_over_two_workers_add_up_to_what_the_client_sent() {
    let tree = Tree::new();
    tree.add_ready_change("counted");
    let server = Server::build(tree.root()).start();
    let before = server.metrics();
    let mut plan = Plan::new(server.address(), modern_call("changes.active", json!({})));
    (plan.max_requests, plan.reuse, plan.max_duration) = (300, Reuse::OnePerRequest, Duration::from_secs(60));
    let report = run(&plan).unwrap();
    assert_eq!(report.count(Outcome::Ok), 300, "{report}");

    let labels = [("method", "POST"), ("route", "/mcp"), ("status_code", "200")];
    // A request is counted when its answer has been sent, which is a moment after the client has read it.
    let after = eventually(Duration::from_secs(2), "300 requests are counted", || {
        let now = server.metrics();
        let grown = |name: &str, labels: &[(&str, &str)]| now.sum(name, labels) - before.sum(name, labels);
        (grown("http_requests_total", &labels) >= 300.0).then_some(now)
    });
    let grown = |name: &str, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
    assert_eq!(grown("http_requests_total", &labels), 300.0);
    assert_eq!(grown("http_request_duration_seconds_count", &[("route", "/mcp")]), 300.0);
    assert_eq!(grown("tool_execution_duration_seconds_count", &[("tool", "changes.active")]), 300.0);
    let spent = grown("http_request_duration_seconds_sum", &[("route", "/mcp")]);
    let waited_s = report.elapsed().as_secs_f64() * plan.connections as f64;
    assert!(spent > 0.0 && spent < waited_s, "{spent} s spent, {waited_s} s waited for");
}

#[test]
fn refusals_and_errors_of_tools_are_counted_as_such() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let before = server.metrics();
    for _ in 0..3 {
        server.send(&Request::post_json("/mcp", "not json"));
        Caller::new(&server, Dialect::Sse).call("change.show", json!({"slug": "no-such-change"})).fault();
    }
    let grown = |name: &str, labels: &[(&str, &str)]| server.metrics().sum(name, labels) - before.sum(name, labels);
    let counted = |promise: &str, name: &str, labels: &[(&str, &str)]| {
        eventually(Duration::from_secs(2), promise, || (grown(name, labels) == 3.0).then_some(()));
    };
    counted("refusals", "http_requests_total", &[("route", "/mcp"), ("status_code", "400")]);
    counted("streams", "http_requests_total", &[("route", "/sse"), ("status_code", "200")]);
    counted("errors of tools", "tool_errors_total", &[("tool", "change.show"), ("code", "ENOCHANGE")]);
}

#[test]
fn families_have_their_types_and_buckets_reach_from_microseconds_to_seconds() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let caller = Caller::new(&server, Dialect::Modern);
    caller.call("changes.active", json!({})).ok();
    caller.call("change.show", json!({"slug": "no-such-change"})).fault();
    let metrics = server.metrics();
    for (family, kind) in [
        ("http_requests_total", "counter"),
        ("http_request_duration_seconds", "histogram"),
        ("sse_active_connections", "gauge"),
        ("tool_execution_duration_seconds", "histogram"),
        ("tool_errors_total", "counter"),
    ] {
        assert_eq!(metrics.kind(family), Some(kind), "{family}");
    }
    let all = metrics.sum("http_request_duration_seconds_count", &[]);
    assert!(all >= 1.0);
    assert_eq!(metrics.sum("http_request_duration_seconds_bucket", &[("le", "+Inf")]), all);
    for (family, bounds) in [
        ("http_request_duration_seconds_bucket", ["0.1", "0.3", "0.5", "0.7", "1", "3", "5", "7", "10"].as_slice()),
        ("tool_execution_duration_seconds_bucket", ["0.1", "0.5", "1", "2", "5", "10", "30"].as_slice()),
    ] {
        for bound in bounds {
            assert!(metrics.has(family, &[("le", bound)]), "{family} has a bucket at {bound}");
        }
    }
    assert!(metrics.bounds("http_request_duration_seconds_bucket").any(|bound| bound < 1e-4));
}

//! Workers that have reached a limit are replaced, one at a time, and nobody notices.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::control::under_load;
use crate::support::{Caller, Dialect, Metrics, Server, Tree, eventually};

fn recycled(metrics: &Metrics, reason: &str) -> f64 {
    metrics.sum("task_mcp_workers_recycled_total", &[("reason", reason)])
}

/// Resident memory of the worker that holds most.
fn largest_bytes(server: &Server) -> f64 {
    let metrics = server.metrics();
    let of_slot =
        |slot: &str| metrics.sum("task_mcp_process_resident_memory_bytes", &[("role", "worker"), ("slot", slot)]);
    of_slot("0").max(of_slot("1"))
}

#[test]
fn workers_that_have_served_their_share_are_recycled_one_at_a_time_and_no_call_fails() {
    let tree = Tree::new();
    let server = Server::build(tree.root())
        .fixture()
        .set("supervisor.recycle_requests", 200)
        .set("supervisor.lame_duck_ms", 300)
        .start();
    let mut looks = 0;
    let reports = under_load(&server, || {
        eventually(Duration::from_secs(60), "both workers are recycled twice", || {
            looks += 1;
            let metrics = server.metrics();
            let live = metrics.sum("task_mcp_processes", &[("role", "worker")]);
            assert!(live >= 2.0, "a worker left before its successor served");
            let workers = server.workers();
            assert!(workers.len() <= 3, "two workers are recycled at a time: {workers:?}");
            (recycled(&metrics, "requests") >= 4.0).then_some(())
        });
    });
    for report in reports {
        assert_eq!(report.failed(), 0, "{report}");
    }
    assert!(looks > 10, "it was looked at {looks} times");
    assert_eq!(server.metrics().sum("task_mcp_requests_lost_total", &[]), 0.0);
}

#[test]
fn a_worker_that_has_grown_is_recycled_and_its_memory_is_free() {
    let tree = Tree::new();
    let server = Server::build(tree.root())
        .fixture()
        .set("supervisor.recycle_rss_bytes", 128 << 20)
        .set("supervisor.lame_duck_ms", 0)
        .start();
    let grown = Caller::new(&server, Dialect::Modern).call("test_leak", json!({"bytes": 200 << 20})).ok();
    let before = server.wait_workers(2, &[]);
    let victim = *before.iter().find(|worker| Some(i64::from(worker.pid)) == grown["pid"].as_i64()).unwrap();
    assert!(largest_bytes(&server) > f64::from(200 << 20));
    eventually(Duration::from_secs(20), "it is recycled", || {
        (recycled(&server.metrics(), "memory") == 1.0).then_some(())
    });
    let after = server.wait_workers(2, &[victim]);
    assert_eq!(after.iter().filter(|worker| before.contains(worker)).count(), 1, "the other one stays");
    assert!(largest_bytes(&server) < f64::from(128 << 20));
}

#[test]
fn workers_of_one_age_are_recycled_one_after_the_other() {
    let tree = Tree::new();
    let server =
        Server::build(tree.root()).set("supervisor.recycle_after_s", 2).set("supervisor.lame_duck_ms", 0).start();
    let before = server.wait_workers(2, &[]);
    let started = Instant::now();
    eventually(Duration::from_secs(20), "both are recycled", || {
        assert!(server.workers().len() <= 3, "two workers are recycled at a time");
        (recycled(&server.metrics(), "age") >= 2.0).then_some(())
    });
    assert!(started.elapsed() > Duration::from_secs(1), "not before their time");
    server.wait_workers(2, &before);
    let begun = server.stderr().matches("has reached a limit and is recycled").count();
    assert!(begun >= 2, "the log tells: {}", server.stderr());
}

//! What is counted is what was sent.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::json;
use task_mcp_bench::{Outcome, Plan, Request, Reuse, run};

use crate::support::{Caller, Dialect, Metrics, Server, Signal, Tree, eventually, modern_call};

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

/// Runs `task-mcp ctl`; it must succeed.
fn ctl(server: &Server, arguments: &[&str]) {
    let (code, told) = crate::control::ctl(server, arguments);
    assert_eq!(code, 0, "{told}");
}

/// A metric of one slot.
fn of_slot(metrics: &Metrics, name: &str, slot: u16) -> f64 {
    let labels = slot.to_string();
    let labels = [("slot", labels.as_str())];
    let name = format!("task_mcp_slot_{name}");
    assert!(metrics.has(&name, &labels), "{name} of slot {slot} is missing");
    metrics.sum(&name, &labels)
}

#[test]
fn a_worker_that_stops_shows_as_parked_time_and_a_restart_of_its_slot() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let before = server.metrics();
    // Pids may wrap around, so the victim's slot is found by what changes.
    server.wait_workers(2, &[])[0].signal(Signal::SIGSTOP);
    let after = eventually(Duration::from_secs(15), "the worker is replaced", || {
        let now = server.metrics();
        let starts = |metrics: &Metrics| metrics.sum("task_mcp_processes_started_total", &[("process", "worker")]);
        let live = now.sum("task_mcp_processes", &[("role", "worker")]) == 2.0;
        let killed = now.sum("task_mcp_processes_killed_total", &[("reason", "hung")]) == 1.0;
        (starts(&now) == starts(&before) + 1.0 && live && killed).then_some(now)
    });
    assert_eq!(after.fallen_since(&before), [""; 0]);
    let grown = |name: &str, slot: u16| of_slot(&after, name, slot) - of_slot(&before, name, slot);
    let (victim, other) = if grown("starts_total", 0) == 1.0 { (0, 1) } else { (1, 0) };
    for name in ["starts_total", "restarts_total"] {
        assert_eq!((grown(name, victim), grown(name, other)), (1.0, 0.0), "{name}");
    }
    // Silent for 150 ms: parked; for 1 s: a successor starts, which boots.
    let parked_s = grown("parked_seconds_total", victim);
    assert!((0.7..15.0).contains(&parked_s), "{parked_s} s");
    // A busy machine may keep the other one from its heartbeat too, but not for long.
    assert!(grown("parked_seconds_total", other) < parked_s);
    assert!(grown("generation", victim) > 0.0);
    assert_eq!((grown("generation", other), of_slot(&after, "breaker_open", victim)), (0.0, 0.0));
}

#[test]
fn connections_that_nobody_accepts_show_as_the_length_of_a_queue() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("server.workers", 1).start();
    let length = |promise: &str, expected: std::ops::RangeInclusive<f64>| {
        eventually(Duration::from_secs(10), promise, || {
            expected.contains(&of_slot(&server.metrics(), "queue_length", 0)).then_some(())
        });
    };
    length("nobody waits", 0.0..=0.0);
    let worker = server.wait_workers(1, &[])[0];
    worker.signal(Signal::SIGSTOP);
    // Each thread stops at its own next chance, and one of them accepts.
    while !worker.is_wholly_stopped() {
        thread::yield_now();
    }
    let clients: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    length("all wait", 20.0..=20.0);
    worker.signal(Signal::SIGCONT);
    drop(clients);
    length("nobody waits any more", 0.0..=0.0);
}

#[test]
fn only_slots_that_exist_have_metrics_and_what_they_counted_stays() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("supervisor.lame_duck_ms", 0).start();
    let shown = |name: &str| server.metrics().has(&format!("task_mcp_slot_{name}"), &[("slot", "2")]);
    let gauges = ["generation", "queue_length", "breaker_open"];
    let counters = ["starts_total", "restarts_total", "parked_seconds_total"];
    assert!(!gauges.iter().chain(&counters).any(|name| shown(name)), "slot 2 does not exist");
    ctl(&server, &["scale", "3"]);
    assert!(gauges.iter().chain(&counters).all(|name| shown(name)), "slot 2 exists");
    let before = server.metrics();
    ctl(&server, &["scale", "2"]);
    eventually(Duration::from_secs(10), "the slot is gone", || (!gauges.iter().any(|name| shown(name))).then_some(()));
    assert_eq!(server.metrics().fallen_since(&before), [""; 0]);
    assert!(counters.iter().all(|name| shown(name)));
}

#[test]
fn a_rolling_restart_is_counted_and_no_counter_falls() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).set("supervisor.lame_duck_ms", 0).start();
    Caller::new(&server, Dialect::Modern).call("changes.active", json!({})).ok();
    let before = server.metrics();
    ctl(&server, &["restart"]);
    let after = server.metrics();
    assert_eq!(after.fallen_since(&before), [""; 0]);
    let grown = |name: &str, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
    for (result, expected) in [("ok", 1.0), ("failed", 0.0)] {
        assert_eq!(grown("task_mcp_rolling_restarts_total", &[("result", result)]), expected, "{result}");
    }
    assert_eq!(grown("task_mcp_processes_started_total", &[]), 2.0);
    assert_eq!(grown("task_mcp_slot_restarts_total", &[]), 2.0);
}

#[test]
fn memory_processor_time_and_descriptors_of_every_process_are_told_as_the_kernel_knows_them() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let metrics = server.metrics();
    for name in ["resident_memory_bytes", "cpu_seconds_total", "open_fds"] {
        let name = format!("task_mcp_process_{name}");
        for (role, slot, generation) in
            [("supervisor", "0", "0"), ("worker", "0", "1"), ("worker", "1", "2"), ("admin", "0", "3")]
        {
            let labels = [("role", role), ("slot", slot), ("generation", generation)];
            assert!(metrics.has(&name, &labels), "{name} of {labels:?}");
        }
    }
    assert!(metrics.sum("task_mcp_process_resident_memory_bytes", &[("role", "worker"), ("slot", "0")]) > 1e6);
    assert!(metrics.sum("task_mcp_process_open_fds", &[("role", "supervisor")]) > 5.0);
    // A scrape costs processor time, so it grows by being looked at.
    let spent = |metrics: &Metrics| metrics.sum("task_mcp_process_cpu_seconds_total", &[("role", "admin")]);
    eventually(Duration::from_secs(20), "the admin process has worked", || {
        (spent(&server.metrics()) > spent(&metrics)).then_some(())
    });
}

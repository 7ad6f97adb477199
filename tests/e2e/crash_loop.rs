//! Workers that cannot start, start slowly, or die of what they serve: how often they are tried, and who notices.

use std::time::{Duration, Instant};

use serde_json::json;
use task_mcp_bench::{Outcome, Plan, run};

use crate::support::{Control, Load, Server, Signal, Tree, Usage, eventually, modern_call, sized, steady};

const WORKERS: usize = 3;

/// Kills the worker of a slot, to which nobody is talking.
fn kill_slot(server: &Server, control: &mut Control, slot: usize) {
    let pid = control.status().workers()[slot].pid().expect("it lives");
    let worker = server.workers().into_iter().find(|worker| worker.pid == pid).expect("it lives");
    worker.signal(Signal::SIGKILL);
}

#[test]
fn a_crash_loop_is_tried_a_few_times_disturbs_nobody_and_ends_with_the_cure() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).for_load(WORKERS).start();
    let mut control = Control::new(&server);
    server.set_faults("slots = [1]\nexit_at_boot = true\nexit_code = 70\n");
    let began = Instant::now();
    kill_slot(&server, &mut control, 1);
    let load = Load::start(steady(&server, &modern_call("test_sleep", json!({"ms": 5})), 100.0, 64));
    eventually(Duration::from_secs(30), "its breaker opens", || {
        (control.status().workers()[1].state() == "broken").then_some(())
    });
    let mut tried = control.status().workers()[1].number("restarts");
    while began.elapsed() < sized(Duration::from_secs(3), Duration::from_secs(60)) {
        let metrics = server.metrics();
        assert_eq!(metrics.sum("task_mcp_workers_live", &[]), WORKERS as f64 - 1.0);
        let status = control.status();
        tried = status.workers()[1].number("restarts");
        assert_eq!(status.workers()[1].last_exit(), Some("exit code 70"), "the status says why");
        load.wait_more(20);
    }
    eprintln!("{tried} tries in {:?}", began.elapsed());
    // Five early deaths open the breaker, and the kill above may be the first of them.
    assert!((4..=12).contains(&tried), "{tried} processes in {:?}", began.elapsed());

    server.set_faults("");
    let cured = Instant::now();
    // 30 s until the breaker tries again, and what it takes to start.
    eventually(Duration::from_secs(35), "the slot serves again", || control.status().is_whole(WORKERS).then_some(()));
    eprintln!("serves {:?} after the cure", cured.elapsed());
    load.wait_more(50);
    load.stop_unharmed();
}

#[test]
fn metrics_are_answered_while_all_workers_crash_and_the_service_comes_back_with_the_cure() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).for_load(WORKERS).start();
    let mut control = Control::new(&server);
    server.set_faults("exit_at_boot = true\nexit_code = 69\n");
    let before = server.metrics();
    (0..WORKERS).for_each(|slot| kill_slot(&server, &mut control, slot));
    let began = Instant::now();
    eventually(Duration::from_secs(10), "no worker serves", || {
        (server.metrics().sum("task_mcp_workers_live", &[]) == 0.0).then_some(())
    });
    let mut earlier = before;
    while began.elapsed() < Duration::from_secs(2) {
        let now = server.metrics();
        assert_eq!(now.fallen_since(&earlier), [""; 0]);
        earlier = now;
    }
    // The last slot that served is tried ten times a second for as long as none serves; each of the others a few times.
    let tried = control.status().sum("restarts") as f64;
    assert!(tried <= 10.0 * began.elapsed().as_secs_f64() + 12.0, "{tried} processes in {:?}", began.elapsed());
    server.set_faults("");
    eventually(Duration::from_secs(5), "a worker serves", || {
        (server.metrics().sum("task_mcp_workers_live", &[]) > 0.0).then_some(())
    });
    let mut plan = Plan::new(server.address(), modern_call("changes.active", json!({})));
    (plan.connections, plan.max_requests, plan.timeout) = (4, 20, Duration::from_secs(5));
    let report = run(&plan).unwrap();
    assert_eq!(report.count(Outcome::Ok), 20, "{report}");
}

#[test]
fn a_panic_outside_a_tool_ends_the_worker_with_70_and_costs_its_own_calls() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().faults("slots = [0]\npanic_after_calls = 3\n").start();
    let mut control = Control::new(&server);
    server.set_faults("");
    let mut plan = Plan::new(server.address(), modern_call("test_sleep", json!({"ms": 1})));
    (plan.connections, plan.reuse, plan.max_requests) = (1, task_mcp_bench::Reuse::OnePerRequest, 60);
    let report = run(&plan).unwrap();
    let lost = report.count(Outcome::Reset) + report.count(Outcome::Eof);
    assert_eq!((lost, report.failed()), (1, 1), "the call that was served at the panic: {report}");
    let status = eventually(Duration::from_secs(10), "it is replaced", || {
        Some(control.status()).filter(|status| status.is_whole(2) && status.sum("restarts") == 1)
    });
    assert_eq!(status.workers()[0].last_exit(), Some("exit code 70"));
    assert!(server.stderr().contains("The process panicked and ends."), "the log tells");
}

#[test]
fn a_worker_that_dies_again_and_again_after_it_has_served_is_replaced_at_once_each_time() {
    let tree = Tree::new();
    let server =
        Server::build(tree.root()).fixture().faults("slots = [1]\nexit_after_ready_ms = 1200\nexit_code = 3\n").start();
    let mut control = Control::new(&server);
    let started = Instant::now();
    let status = eventually(Duration::from_secs(20), "it was replaced three times", || {
        let status = control.status();
        assert!(!matches!(status.workers()[1].state(), "backoff" | "broken"), "it served before it died: {status:?}");
        (status.workers()[1].number("restarts") >= 3).then_some(status)
    });
    assert!(started.elapsed() >= Duration::from_millis(3_400), "each lived its time: {:?}", started.elapsed());
    assert_eq!(status.workers()[1].last_exit(), Some("exit code 3"));
    assert_eq!(status.workers()[0].number("restarts"), 0);
}

#[test]
fn a_worker_that_leaks_grows_by_what_it_was_told_to_leak() {
    const CALLS: u64 = 40;
    let tree = Tree::new();
    let server =
        Server::build(tree.root()).fixture().set("server.workers", 1).faults("leak_bytes_per_call = 1048576\n").start();
    let resident = || Usage::of(server.workers()[0].pid).resident_kib;
    let grown = |requests: u64, request| {
        let before = resident();
        let mut plan = Plan::new(server.address(), request);
        (plan.connections, plan.max_requests) = (1, requests);
        assert_eq!(run(&plan).unwrap().failed(), 0);
        resident().saturating_sub(before)
    };
    let by_fault = grown(CALLS, modern_call("test_sleep", json!({"ms": 0})));
    assert!((CALLS * 1024..CALLS * 1024 + 20_480).contains(&by_fault), "{by_fault} KiB");
    let by_tool = grown(1, modern_call("test_leak", json!({"bytes": 64 << 20})));
    assert!((65 * 1024..85 * 1024).contains(&by_tool), "{by_tool} KiB");
}

#[test]
fn a_worker_that_spins_after_some_calls_is_replaced_and_the_next_one_serves() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("server.workers", 1).faults("spin_after_calls = 2\n").start();
    let mut control = Control::new(&server);
    server.set_faults("");
    let mut plan = Plan::new(server.address(), modern_call("test_sleep", json!({"ms": 0})));
    (plan.connections, plan.max_requests, plan.timeout) = (1, 6, Duration::from_secs(20));
    let report = run(&plan).unwrap();
    assert_eq!((report.count(Outcome::Ok), report.failed()), (5, 1), "the third call dies with its worker: {report}");
    eventually(Duration::from_secs(10), "it was replaced once", || {
        let status = control.status();
        (status.is_whole(1) && status.sum("restarts") == 1).then_some(())
    });
}

#[test]
fn a_worker_that_starts_slowly_keeps_nobody_waiting() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).for_load(WORKERS).start();
    let mut control = Control::new(&server);
    let request = modern_call("test_sleep", json!({"ms": 5}));
    let usual = Load::start(steady(&server, &request, 100.0, 64));
    usual.wait_more(100);
    let usual = usual.stop_unharmed();
    server.set_faults("slots = [2]\nboot_delay_ms = 3000\n");
    kill_slot(&server, &mut control, 2);
    // The queue of the dead worker is not used before its successor is ready.
    eventually(Duration::from_secs(5), "the next one starts", || {
        (control.status().workers()[2].state() == "starting").then_some(())
    });
    let started = Instant::now();
    let load = Load::start(steady(&server, &request, 100.0, 64));
    eventually(Duration::from_secs(15), "it serves", || control.status().is_whole(WORKERS).then_some(()));
    assert!(started.elapsed() > Duration::from_secs(2), "the start was slow: {:?}", started.elapsed());
    load.wait_more(50);
    for (usual, slow) in usual.iter().zip(load.stop_unharmed()) {
        let (usual_us, slow_us) = (usual.latency_us(0.99), slow.latency_us(0.99));
        // Far below the three seconds that a queue without a worker would have cost a third of the requests.
        assert!(slow_us < usual_us + 500_000, "p99 {usual_us} us before, {slow_us} us meanwhile: {slow}");
    }
}

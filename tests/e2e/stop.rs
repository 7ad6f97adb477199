//! What SIGTERM promises to calls in flight and to the one who sent it.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use task_mcp_bench::{Response, fetch};

use crate::support::{Caller, Dialect, Server, Signal, Tree, eventually, modern_call};

#[test]
fn an_idle_server_stops_within_three_seconds_with_status_0() {
    let tree = Tree::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let server = Server::build(tree.root()).start();
        Caller::new(&server, Dialect::Modern).call("changes.active", json!({})).ok();
        server.signal(signal);
        assert_eq!(server.wait_exit(Duration::from_secs(3)), 0, "{signal}");
        assert_eq!(server.survivors(), []);
    }
}

#[test]
fn sigterm_finishes_every_call_in_flight() {
    const CALLS: usize = 8;
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    // Longer than anything else a drain waits for, so that only waiting for the calls explains their answers.
    let outcomes = with_calls_in_flight(&server, CALLS, 4_500, || {
        server.terminate();
        assert_eq!(server.wait_exit(Duration::from_secs(9)), 0);
    });
    for outcome in outcomes {
        let answer = outcome.expect("a call in flight is answered");
        assert_eq!((answer.status, answer.text().contains("4500")), (200, true), "{}", answer.text());
    }
}

#[test]
fn streams_in_flight_are_finished_too() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    thread::scope(|scope| {
        let call = scope.spawn(|| Caller::new(&server, Dialect::Sse).call("test_sleep", json!({"ms": 1500})).ok());
        server.wait_in_flight(1);
        server.terminate();
        assert_eq!(call.join().unwrap()["slept_ms"], 1500);
        assert_eq!(server.wait_exit(Duration::from_secs(5)), 0);
    });
}

#[test]
fn a_call_longer_than_the_drain_deadline_is_cut_and_the_status_is_75() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("supervisor.drain_timeout_s", 2).start();
    let outcomes = with_calls_in_flight(&server, 1, 30_000, || {
        let asked = Instant::now();
        server.terminate();
        assert_eq!(server.wait_exit(Duration::from_secs(8)), 75);
        assert!(asked.elapsed() >= Duration::from_millis(1500), "the call had its time: {:?}", asked.elapsed());
    });
    assert!(outcomes[0].as_ref().map_or(true, |answer| answer.status >= 500), "{outcomes:?}");
}

#[test]
fn a_second_sigterm_means_now() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("supervisor.drain_timeout_s", 25).start();
    with_calls_in_flight(&server, 1, 24_000, || {
        server.terminate();
        // Signals that arrive together may be merged, so the second is sent once the first has been seen.
        eventually(Duration::from_secs(3), "the drain begins", || server.stderr().contains("drain").then_some(()));
        assert_eq!(server.workers().len().min(1), 1, "a worker still has its call");
        server.terminate();
        assert_eq!(server.wait_exit(Duration::from_secs(3)), 75);
    });
}

#[test]
fn a_call_that_blocks_the_serving_thread_is_finished_as_well() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    thread::scope(|scope| {
        let call = scope.spawn(|| Caller::new(&server, Dialect::Modern).call("test_block", json!({"ms": 1500})));
        server.wait_in_flight(1);
        server.terminate();
        assert_eq!(call.join().unwrap().ok()["blocked_ms"], 1500);
        assert_eq!(server.wait_exit(Duration::from_secs(5)), 0);
    });
}

/// Runs `act` once this many `test_sleep` calls are in flight, and returns what became of them.
fn with_calls_in_flight(
    server: &Server,
    calls: usize,
    sleep_ms: u64,
    act: impl FnOnce(),
) -> Vec<Result<Response, String>> {
    let request = modern_call("test_sleep", json!({"ms": sleep_ms}));
    let call = || fetch(server.address(), &request, Duration::from_secs(40)).map_err(|failure| failure.to_string());
    thread::scope(|scope| {
        let running: Vec<_> = (0..calls).map(|_| scope.spawn(call)).collect();
        server.wait_in_flight(calls);
        act();
        running.into_iter().map(|call| call.join().unwrap()).collect()
    })
}

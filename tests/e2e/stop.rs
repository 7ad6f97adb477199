//! What SIGTERM promises to calls in flight and to the one who sent it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use task_mcp_bench::{Control, Freshness, Outcome, Plan, Request, Response, Reuse, fetch, run};

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
    let told = outcomes[0].as_ref().expect("its caller is told").text();
    assert!(told.contains("SERVER_SHUTTING_DOWN") && told.contains("\"isError\":true"), "{told}");
}

#[test]
fn at_the_deadline_every_caller_hears_the_end_in_its_dialect() {
    const OF_EACH: usize = 12;
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("supervisor.drain_timeout_s", 2).start();
    let seed = |path: &str, tool: &str| {
        Request::post_json(path, json!({ "tool": tool, "input": { "ms": 60_000 } }).to_string())
    };
    let requests = [
        (seed("/sse", "test_sleep"), "\nevent: error\n"),
        (seed("/sse", "test_sleep_write"), "\nevent: error\n"),
        (seed("/mcp", "test_sleep").header("Accept", "application/x-ndjson"), "\"type\":\"error\""),
        (modern_call("test_sleep", json!({"ms": 60_000})), "\"isError\":true"),
    ];
    let calls: Vec<_> = requests.iter().flat_map(|one| std::iter::repeat_n(one, OF_EACH)).collect();
    thread::scope(|scope| {
        let running: Vec<_> = calls
            .iter()
            .map(|(request, end)| (scope.spawn(|| fetch(server.address(), request, Duration::from_secs(40))), end))
            .collect();
        server.wait_in_flight(calls.len());
        let asked = Instant::now();
        server.terminate();
        assert_eq!(server.wait_exit(Duration::from_secs(6)), 75);
        assert!(asked.elapsed() >= Duration::from_millis(1_500), "they had their time: {:?}", asked.elapsed());
        for (call, end) in running {
            // A stream without its last chunk is no answer.
            let told = call.join().unwrap().expect("the answer is complete").text();
            assert!(told.contains(end) && told.contains("SERVER_SHUTTING_DOWN"), "{told}");
            assert!(!end.contains("type") || told.trim_end().lines().last().unwrap().contains("\"end\""), "{told}");
        }
    });
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

#[test]
fn what_arrives_during_a_drain_is_served_until_nothing_more_is_accepted() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    let plan = |reuse| {
        let mut plan = Plan::new(server.address(), modern_call("test_sleep", json!({"ms": 30})));
        (plan.connections, plan.reuse, plan.max_duration) = (8, reuse, Duration::from_secs(30));
        plan
    };
    let plans = [plan(Reuse::KeepAlive), plan(Reuse::OnePerRequest)];
    let controls = plans.clone().map(|plan| plan.control);
    let runs = plans.map(|plan| thread::spawn(move || run(&plan).unwrap()));
    eventually(Duration::from_secs(20), "the load runs", || {
        controls.iter().all(|control| control.finished() > 50).then_some(())
    });
    let asked = Instant::now();
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(6)), 0, "nothing was cut");
    assert!(asked.elapsed() >= Duration::from_secs(1), "the lame duck has its time: {:?}", asked.elapsed());
    controls.iter().for_each(Control::stop);
    for report in runs.map(|run| run.join().unwrap()) {
        assert!(report.announced_closes() > 0, "clients are told to turn away: {report}");
        // A connection that nobody accepted any more ends with its socket; no call that was accepted does.
        let unaccepted =
            report.count_on(Outcome::Refused, Freshness::Fresh) + report.count_on(Outcome::Reset, Freshness::Fresh);
        assert_eq!(report.failed(), unaccepted, "{report}");
    }
}

#[test]
fn readiness_fails_at_once_while_calls_are_still_served() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    with_calls_in_flight(&server, 1, 700, || {
        server.terminate();
        let told = eventually(Duration::from_millis(500), "readiness fails", || {
            Some(server.get("/readyz")).filter(|answer| answer.status == 503)
        });
        assert!(told.text().contains("draining"), "{}", told.text());
        Caller::new(&server, Dialect::Modern).call("changes.active", json!({})).ok();
        assert_eq!(server.wait_exit(Duration::from_secs(5)), 0);
    });
}

#[test]
fn a_request_that_never_comes_to_its_end_forces_nothing() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let mut halves: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    for half in &mut halves[..2] {
        half.write_all(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{").unwrap();
    }
    for half in &mut halves[2..] {
        half.write_all(b"POST /mcp HTTP/1.1\r\nHost: local").unwrap();
    }
    server.wait_in_flight(2);
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(5)), 0);
    let mut told = String::new();
    halves[0].read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
}

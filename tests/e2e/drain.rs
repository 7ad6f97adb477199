//! SIGTERM with hundreds of calls and streams under way, with some that never end, and with a worker that does not listen.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::json;
use task_mcp_bench::{Outcome, Plan, Report, Request, run};

use crate::support::{Server, Stalls, Tree, modern_call};

/// What the end of the slowest call, and then of the processes, may take on a machine with other work.
const MARGIN: Duration = Duration::from_secs(1);

fn stream(sleep_ms: u64) -> Request {
    let body = json!({"tool": "test_sleep", "input": {"ms": sleep_ms}}).to_string();
    Request::post_json("/sse", body).header("Accept", "text/event-stream")
}

/// So many of one request at once, each over a connection of its own, with the text of a good answer.
fn at_once(server: &Server, request: Request, count: usize, expect: &str) -> JoinHandle<Report> {
    let mut plan = Plan::new(server.address(), request);
    (plan.connections, plan.max_requests) = (count, count as u64);
    (plan.timeout, plan.expect) = (Duration::from_secs(30), Some(expect.to_owned()));
    thread::spawn(move || run(&plan).unwrap())
}

/// Sleeps beside the server and learns by how much the machine oversleeps.
fn wait_exit(server: &Server, deadline: Duration) -> (i32, Duration, Stalls) {
    let mut stalls = Stalls::default();
    let asked = Instant::now();
    server.terminate();
    let code = thread::scope(|scope| {
        let exit = scope.spawn(|| server.wait_exit(deadline));
        while !exit.is_finished() {
            stalls.sleep(Duration::from_millis(5));
        }
        exit.join().unwrap()
    });
    (code, asked.elapsed(), stalls)
}

#[test]
fn two_hundred_streams_and_fifty_calls_all_end_well_within_three_seconds() {
    const STREAMS: usize = 200;
    const CALLS: usize = 50;
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("limits.max_connections_per_ip", 1_000).start();
    let runs = [
        (STREAMS, at_once(&server, stream(2_000), STREAMS, "event: result")),
        (CALLS, at_once(&server, modern_call("test_sleep", json!({"ms": 2_000})), CALLS, "2000")),
    ];
    server.wait_in_flight(STREAMS + CALLS);
    let (code, took, stalls) = wait_exit(&server, Duration::from_secs(20));
    assert_eq!(code, 0, "nothing was cut");
    for (count, run) in runs {
        let report = run.join().unwrap();
        assert_eq!(report.count(Outcome::Ok), count as u64, "{report}");
    }
    eprintln!("gone after {took:?}, {stalls:?}");
    assert!(took <= stalls.allow(Duration::from_secs(3) + MARGIN), "gone after {took:?}, {stalls:?}");
}

#[test]
fn streams_that_never_end_are_ended_at_the_deadline_with_status_75() {
    const STREAMS: usize = 20;
    const DEADLINE: Duration = Duration::from_secs(3);
    let tree = Tree::new();
    let server = Server::build(tree.root())
        .fixture()
        .set("supervisor.drain_timeout_s", DEADLINE.as_secs())
        .set("tools.deadline_ms", 600_000)
        .start();
    let streams = at_once(&server, stream(300_000), STREAMS, "SERVER_SHUTTING_DOWN");
    server.wait_in_flight(STREAMS);
    let (code, took, stalls) = wait_exit(&server, Duration::from_secs(20));
    assert_eq!(code, 75);
    eprintln!("gone after {took:?}, {stalls:?}");
    // Workers cut half a second before the supervisor would kill them.
    assert!(took >= DEADLINE - Duration::from_secs(1), "the streams had their time: {took:?}");
    assert!(took <= stalls.allow(DEADLINE + MARGIN), "gone after {took:?}, {stalls:?}");
    let report = streams.join().unwrap();
    assert_eq!(report.count(Outcome::Ok), STREAMS as u64, "each has ended with an event that says why: {report}");
}

#[test]
fn a_worker_deaf_to_the_drain_is_killed_at_the_deadline_and_the_others_end_well() {
    const DEADLINE: Duration = Duration::from_secs(3);
    let tree = Tree::new();
    let server = Server::build(tree.root())
        .fixture()
        .faults("slots = [0]\nignore_drain = true\n")
        .set("supervisor.drain_timeout_s", DEADLINE.as_secs())
        .start();
    let calls = at_once(&server, modern_call("test_sleep", json!({"ms": 1_500})), 20, "1500");
    server.wait_in_flight(20);
    let (code, took, stalls) = wait_exit(&server, Duration::from_secs(20));
    assert_eq!(code, 75, "a worker that had to be killed is no clean stop");
    assert!(took >= DEADLINE, "it had its time: {took:?}");
    assert!(took <= stalls.allow(DEADLINE + MARGIN), "gone after {took:?}, {stalls:?}");
    // The deaf one served its calls as well: it only did not leave.
    let report = calls.join().unwrap();
    assert_eq!(report.count(Outcome::Ok), 20, "{report}");
    assert!(server.stderr().contains("DrainDeadline"), "the log tells why");
}

//! Event streams while their tool still runs: what arrives when, and what is counted.

use std::time::{Duration, Instant};

use serde_json::json;
use task_mcp_bench::Request;

use crate::support::{Server, Signal, Stream, Tree, eventually, signal};

/// A call of the plain dialect whose tool sleeps.
fn sleeper(server: &Server, sleep_ms: u64) -> Stream {
    let body = json!({ "tool": "test_sleep", "input": { "ms": sleep_ms } }).to_string();
    let request = Request::post_json("/sse", body).header("Accept", "text/event-stream");
    Stream::open(server.address(), &request)
}

#[test]
fn a_comment_comes_at_once_then_with_every_heartbeat_then_the_result() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().set("server.heartbeat_ms", 100).start();
    let started = Instant::now();
    let mut stream = sleeper(&server, 1_000);
    stream.read_until(": keep-alive", 1);
    assert!(started.elapsed() < Duration::from_millis(900), "the first comment waits for nothing");
    assert!(!stream.text().contains("event:"), "the tool still runs");
    stream.read_until(": keep-alive", 4);
    assert!(!stream.text().contains("event:"), "comments come while the tool runs: {}", stream.text());
    stream.read_until("\nevent: result\n", 1);
    assert!(stream.text().contains("\"slept_ms\":1000"), "{}", stream.text());
}

#[test]
fn an_open_stream_is_counted_and_is_no_request_time() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    let open = |count: f64| {
        eventually(Duration::from_secs(5), &format!("{count} streams are open"), || {
            (server.try_metrics()?.sum("sse_active_connections", &[]) == count).then_some(())
        });
    };
    let mut streams = [sleeper(&server, 1_200), sleeper(&server, 30_000)];
    open(2.0);
    streams[0].read_until("\nevent: result\n", 1);
    open(1.0);
    let [_, given_up] = streams;
    drop(given_up);
    open(0.0);
    let metrics = server.metrics();
    assert_eq!(metrics.sum("http_request_duration_seconds_count", &[("route", "/sse")]), 2.0);
    let seconds = metrics.sum("http_request_duration_seconds_sum", &[("route", "/sse")]);
    assert!(seconds < 1.0, "the life of a stream is not the time of a request: {seconds} s");
    assert_eq!(metrics.sum("task_mcp_http_requests_in_flight", &[]), 0.0, "who leaves takes the call along");
}

#[test]
fn what_a_killed_worker_had_open_is_counted_as_lost_and_no_longer_as_open() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    let streams: Vec<Stream> = (0..6).map(|_| sleeper(&server, 30_000)).collect();
    server.wait_in_flight(6);
    for worker in server.wait_workers(2, &[]) {
        worker.signal(Signal::SIGKILL);
    }
    let settled = eventually(Duration::from_secs(5), "the scoreboard is exact again", || {
        let metrics = server.try_metrics()?;
        (metrics.sum("task_mcp_requests_lost_total", &[]) >= 6.0).then_some(metrics)
    });
    assert_eq!(settled.sum("task_mcp_requests_lost_total", &[]), 6.0, "exactly what was in flight");
    assert_eq!(settled.sum("task_mcp_http_requests_in_flight", &[]), 0.0);
    assert_eq!(settled.sum("sse_active_connections", &[]), 0.0);
    drop(streams);
    signal(server.pid(), Signal::SIGTERM);
    assert_eq!(server.wait_exit(Duration::from_secs(5)), 0, "what a crash lost before the stop is no forced stop");
}

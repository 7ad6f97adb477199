//! A drain of the whole instance: whoever comes during the lame duck's time is served, by whichever worker.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use task_mcp_bench::{Request, fetch};

use crate::support::{Server, Tree, modern_call};

#[test]
fn whoever_comes_while_one_worker_is_still_talked_to_is_served_by_all() {
    const LAME_DUCK: Duration = Duration::from_secs(3);
    let tree = Tree::new();
    let server = Server::build(tree.root())
        .fixture()
        .set("server.workers", 4)
        .set("supervisor.lame_duck_ms", LAME_DUCK.as_millis())
        .start();
    let workers = server.wait_workers(4, &[]);
    thread::scope(|scope| {
        let busy = scope.spawn(|| server.send(&modern_call("test_sleep", json!({"ms": 4_000}))));
        server.wait_in_flight(1);
        let asked = Instant::now();
        server.terminate();
        let mut answered = 0;
        // Half a second before its end: what connects then may find it over.
        while asked.elapsed() < LAME_DUCK - Duration::from_millis(500) {
            let answer = fetch(server.address(), &Request::new("GET", "/healthz"), Duration::from_secs(5));
            let answer = answer.unwrap_or_else(|failure| panic!("{failure} after {:?}", asked.elapsed()));
            assert_eq!(answer.status, 200);
            answered += 1;
            thread::sleep(Duration::from_millis(150));
        }
        assert!(answered >= 4, "{answered}");
        assert_eq!(server.workers(), workers, "all of them wait for whoever comes");
        assert_eq!(busy.join().unwrap().status, 200);
    });
    assert_eq!(server.wait_exit(Duration::from_secs(10)), 0);
}

#[test]
fn an_instance_nobody_talks_to_does_not_wait_for_the_end_of_the_lame_ducks_time() {
    let tree = Tree::new();
    let server =
        Server::build(tree.root()).set("supervisor.lame_duck_ms", 20_000).set("supervisor.drain_timeout_s", 30).start();
    server.terminate();
    assert_eq!(server.wait_exit(Duration::from_secs(10)), 0);
}

#[test]
fn a_replaced_worker_nobody_talks_to_leaves_though_others_are_busy() {
    let tree = Tree::new();
    let server = Server::build(tree.root())
        .fixture()
        .set("supervisor.lame_duck_ms", 20_000)
        .set("supervisor.drain_timeout_s", 30)
        .start();
    let workers = server.wait_workers(2, &[]);
    thread::scope(|scope| {
        let busy = scope.spawn(|| server.send(&modern_call("test_sleep", json!({"ms": 12_000}))));
        server.wait_in_flight(1);
        // Only one of the two has the call; the other is told to leave by hand, and replaced at once.
        workers.iter().for_each(|worker| worker.signal(crate::support::Signal::SIGTERM));
        crate::support::eventually(Duration::from_secs(8), "the idle one has left", || {
            workers.iter().any(|worker| !worker.is_alive()).then_some(())
        });
        assert_eq!(busy.join().unwrap().status, 200);
    });
}

//! What many ask at the same time is computed once, in all workers of all instances that share a cache.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use task_mcp_test_servers::RedisServer;

use crate::support::{Crowd, Process, Server, Shared, Signal, eventually, sockets_of};

const CALLERS: u64 = 64;

/// Asks the same over as many connections at once.
fn ask_at_once(servers: &[&Server], tool: &str, key: &str, ms: u64) -> Vec<Result<Value, String>> {
    thread::scope(|scope| {
        let ask = |caller: u64| {
            scope.spawn(move || {
                let one = servers[caller as usize % servers.len()];
                Crowd::new(&[one], 1, caller).call(tool, json!({"key": key, "ms": ms}))
            })
        };
        let callers: Vec<_> = (0..CALLERS).map(ask).collect();
        callers.into_iter().map(|caller| caller.join().expect("no caller panics")).collect()
    })
}

fn runs_once(shared: &Shared, servers: &[&Server]) {
    for round in 0..3 {
        let key = format!("k{round}");
        let answers = ask_at_once(servers, "test_cached", &key, 300);
        let first = answers[0].as_ref().expect("an answer");
        let other: Vec<_> = answers.iter().filter(|answer| answer.as_ref() != Ok(first)).collect();
        assert!(other.is_empty(), "all get the one answer {first:?}, but these do not: {other:?}");
        assert_eq!(shared.runs("test_cached", &key), 1, "it ran once for all");
    }
}

#[test]
fn sixty_four_equal_calls_over_four_workers_run_once_with_the_embedded_cache() {
    let shared = Shared::new();
    let server = shared.instance(4).start();
    runs_once(&shared, &[&server]);
}

#[test]
fn sixty_four_equal_calls_over_two_instances_run_once_over_redis() {
    for coherence in ["strict", "tracked"] {
        let (shared, redis) = (Shared::new(), RedisServer::start());
        let instances = [(); 2].map(|()| shared.over_redis(4, &redis, coherence).start());
        let [one, two] = &instances;
        for server in [one, two] {
            eventually(Duration::from_secs(10), "both trust their Redis", || is_in_force(server).then_some(()));
        }
        runs_once(&shared, &[one, two]);
    }
}

fn is_in_force(server: &Server) -> bool {
    let ready: Value = serde_json::from_slice(&server.get("/readyz").body).expect("JSON");
    ready["dependencies"]["cache"]["inForce"] == "redis"
}

/// What a lease lasts that is not renewed.
const LEASE: Duration = Duration::from_millis(1_000);

fn waiters_outlive_their_leader(shared: &Shared, server: &Server) {
    const WORK_MS: u64 = 1_500;
    let workers = server.workers();
    thread::scope(|scope| {
        let mut leading = Crowd::new(&[server], 1, 0);
        let port = leading.connect();
        let leader = scope.spawn(move || {
            let arguments = json!({"key": "k", "ms": WORK_MS});
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| leading.call("test_cached", arguments)))
        });
        eventually(Duration::from_secs(10), "the leader computes", || {
            (shared.runs("test_cached", "k") == 1).then_some(())
        });
        let leads = |worker: &&Process| sockets_of(**worker).has(Some(port));
        let leading = *workers.iter().find(leads).expect("one worker holds the leader's connection");
        let waiters: Vec<_> = (1..=12)
            .map(|waiter| {
                scope.spawn(move || {
                    let asked = Instant::now();
                    let mut crowd = Crowd::new(&[server], 1, waiter);
                    let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        crowd.call("test_cached", json!({"key": "k", "ms": WORK_MS}))
                    }));
                    (answer, asked.elapsed())
                })
            })
            .collect();
        // Those on the leader's own worker die with it; the others wait for its lease.
        server.wait_in_flight(13);
        leading.signal(Signal::SIGKILL);
        let _ = leader.join();
        let mut survived = 0;
        for waiter in waiters {
            let (answer, took) = waiter.join().expect("caught");
            let Ok(answer) = answer else { continue };
            survived += 1;
            assert_eq!(answer.expect("an answer")["key"], "k");
            let limit = LEASE + Duration::from_millis(WORK_MS) * 2 + Duration::from_secs(2);
            assert!(took < limit, "a waiter had its answer after {took:?}");
        }
        assert!(survived >= 3, "some waited on other workers");
    });
    assert_eq!(shared.runs("test_cached", "k"), 2, "one waiter took the leader's place");
    assert_eq!(shared.ended("test_cached", "k"), 1);
}

#[test]
fn waiters_of_a_killed_leader_finish_within_its_lease_with_the_embedded_cache() {
    let shared = Shared::new();
    let server = shared.instance(4).set("cache.lease_ms", LEASE.as_millis()).start();
    waiters_outlive_their_leader(&shared, &server);
}

#[test]
fn waiters_of_a_killed_leader_finish_within_its_lease_over_redis() {
    let (shared, redis) = (Shared::new(), RedisServer::start());
    let server = shared.over_redis(4, &redis, "strict").set("cache.lease_ms", LEASE.as_millis()).start();
    eventually(Duration::from_secs(10), "Redis is trusted", || is_in_force(&server).then_some(()));
    waiters_outlive_their_leader(&shared, &server);
}

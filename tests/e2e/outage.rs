//! Redis dies, stops, refuses writes, is full, cannot be reached, is failed over, all under load: no call fails, none waits much
//! longer than the budget, nothing older than a write is read, and the cache is used again by itself.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use serde_json::json;
use task_mcp_bench::Request;
use task_mcp_test_servers::{RedisServer, Sentinels};

use crate::support::{Crowd, Load, Server, Shared, eventually, modern_call, sized, steady};

/// The budget of one operation in these tests.
const BUDGET_MS: u64 = 50;
const WORKERS: usize = 4;
/// What a call may take beside its tool: a look, a lease and a bump at the budget each, on a machine that is busy with the load and
/// with as many other tests.
const LONGEST: Duration = Duration::from_millis(1_500);

fn hits(server: &Server) -> f64 {
    server.metrics().sum("task_mcp_cache_calls_total", &[("outcome", "hit")])
}

fn is_used(server: &Server) {
    let before = hits(server);
    let mut crowd = Crowd::new(&[server], 4, 9);
    eventually(Duration::from_secs(20), "entries are answered again", || {
        for _ in 0..4 {
            crowd.call("test_cached", json!({"key": "again"})).expect("a call");
        }
        (hits(server) > before + 8.0).then_some(())
    });
    // So that whatever is waited for next by `wait_degraded` has not been there all the time.
    eventually(Duration::from_secs(15), "no process does without Redis", || (degraded(server) == 0).then_some(()));
}

/// Processes that do without Redis.
fn degraded(server: &Server) -> usize {
    server.metrics().sum("task_mcp_cache_degraded", &[]) as usize
}

/// Some keys in turn, so that there are hits, misses and leases all the time.
fn requests() -> Vec<Request> {
    let keys = (0..40).map(|key| modern_call("test_cached", json!({"key": format!("k{key}"), "ms": 2})));
    keys.chain((0..4).map(|_| modern_call("test_write", json!({"key": "k0"})))).collect()
}

/// Ends the writer, also when a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until so many more values were written and read back.
fn wait_pairs(pairs: &AtomicU64, more: u64) {
    let least = pairs.load(Ordering::Relaxed) + more;
    eventually(Duration::from_secs(30), "values are written and read", || {
        (pairs.load(Ordering::Relaxed) >= least).then_some(())
    });
}

/// Lets `harm` happen under load: calls of cached tools at a steady rate, and a client that reads what it has just written.
fn under(server: &Server, harm: impl FnOnce(&AtomicU64)) {
    is_used(server);
    let mut plans = steady(server, &requests()[0], sized(150.0, 1_000.0), 64);
    for plan in &mut plans {
        plan.requests = requests();
        plan.expect = Some("\"structuredContent\"".to_owned());
    }
    let load = Load::start(plans);
    let (over, pairs) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let end = Over(&over);
        let writer = scope.spawn(|| {
            let mut crowd = Crowd::new(&[server], 8, 1);
            while !over.load(Ordering::Relaxed) {
                let value = pairs.fetch_add(1, Ordering::Relaxed) + 1;
                crowd.call("test_register_write", json!({"key": "r", "value": value})).expect("a write");
                let read = crowd.call("test_register_read", json!({"key": "r"})).expect("a read");
                assert_eq!(read["value"], value, "older than the write that has answered");
            }
        });
        harm(&pairs);
        drop(end);
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    for report in load.stop_unharmed() {
        let longest = Duration::from_micros(report.latency_us(1.0));
        assert!(longest < LONGEST, "a call took {longest:?}\n{report}");
    }
    is_used(server);
}

fn instance(shared: &Shared, url: &str) -> Server {
    shared.over(WORKERS, url, "strict").set("cache.budget_ms", BUDGET_MS).set("redis.connect_timeout_ms", 500).start()
}

/// Waits until all processes, the admin process too, say that they do without Redis; after `is_used`, when none did.
fn wait_degraded(server: &Server) {
    eventually(Duration::from_secs(15), "all processes do without Redis", || {
        (degraded(server) == server.workers().len() + 1).then_some(())
    });
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 200, "a server without its cache is ready: {}", ready.text());
}

#[test]
fn a_redis_that_is_killed_and_started_again_empty() {
    let shared = Shared::new();
    let mut redis = RedisServer::start();
    let server = instance(&shared, &redis.url());
    under(&server, |pairs| {
        for _ in 0..sized(2, 10) {
            redis.kill();
            wait_degraded(&server);
            wait_pairs(pairs, 20);
            redis.restart();
            is_used(&server);
        }
    });
}

#[test]
fn a_redis_that_stops_and_goes_on() {
    let (shared, redis) = (Shared::new(), RedisServer::start());
    let server = instance(&shared, &redis.url());
    under(&server, |pairs| {
        for _ in 0..sized(2, 10) {
            redis.stop();
            wait_degraded(&server);
            wait_pairs(pairs, 20);
            redis.cont();
            is_used(&server);
        }
    });
}

/// One client that writes on one instance and reads on the other, each value as soon as its write has answered.
fn write_and_read(one: &Server, two: &Server, key: &str, over: &AtomicBool, pairs: &AtomicU64) {
    let (mut writer, mut reader) = (Crowd::new(&[one], 4, 1), Crowd::new(&[two], 4, 2));
    let mut value = 0;
    while !over.load(Ordering::Relaxed) {
        value += 1;
        writer.call("test_register_write", json!({"key": key, "value": value})).expect("a write");
        for _ in 0..3 {
            let read = reader.call("test_register_read", json!({"key": key})).expect("a read");
            assert_eq!(read["value"], value, "older than the write that has answered on the other instance");
        }
        pairs.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_redis_that_stops_and_goes_on_under_two_instances() {
    let (shared, redis) = (Shared::new(), RedisServer::start());
    let instances = [(); 2].map(|()| {
        shared
            .over(2, &redis.url(), "strict")
            .set("cache.budget_ms", BUDGET_MS)
            .set("redis.connect_timeout_ms", 500)
            .start()
    });
    let [one, two] = &instances;
    is_used(one);
    is_used(two);
    let (over, pairs) = (AtomicBool::new(false), AtomicU64::new(0));
    let (over, pairs) = (&over, &pairs);
    thread::scope(|scope| {
        let end = Over(over);
        let clients: Vec<_> = [(one, two, "a"), (two, one, "b"), (one, two, "c")]
            .map(|(one, two, key)| scope.spawn(move || write_and_read(one, two, key, over, pairs)))
            .into();
        for _ in 0..sized(3, 20) {
            wait_pairs(pairs, 20);
            redis.stop();
            instances.iter().for_each(wait_degraded);
            wait_pairs(pairs, 20);
            redis.cont();
            instances.iter().for_each(is_used);
        }
        drop(end);
        for client in clients {
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

#[test]
fn a_redis_that_becomes_a_replica_and_a_master_again() {
    let (shared, redis, other) = (Shared::new(), RedisServer::start(), RedisServer::start());
    let server = instance(&shared, &redis.url());
    under(&server, |pairs| {
        redis.follow(&other);
        wait_degraded(&server);
        wait_pairs(pairs, 20);
        redis.tell::<()>(&["REPLICAOF", "NO", "ONE"]);
        is_used(&server);
    });
}

#[test]
fn a_redis_that_is_full() {
    let (shared, redis) = (Shared::new(), RedisServer::start());
    let server = instance(&shared, &redis.url());
    under(&server, |pairs| {
        redis.tell::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        redis.tell::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        let refused = || {
            let metrics = server.metrics();
            metrics.sum("task_mcp_cache_faults_total", &[("reason", "full")]) > 20.0
        };
        eventually(Duration::from_secs(15), "writes are refused", || refused().then_some(()));
        wait_pairs(pairs, 20);
        redis.tell::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    });
}

#[test]
fn a_redis_that_is_flushed_all_the_time() {
    let (shared, redis) = (Shared::new(), RedisServer::start());
    let server = instance(&shared, &redis.url());
    under(&server, |pairs| {
        for _ in 0..sized(20, 200) {
            redis.flush();
            wait_pairs(pairs, 3);
        }
    });
}

/// Drops all packets to a port of loopback until it is dropped itself.
struct Partition(u16);

impl Partition {
    fn of(port: u16) -> Self {
        rule("-I", port);
        Self(port)
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        rule("-D", self.0);
    }
}

fn rule(what: &str, port: u16) {
    let port = port.to_string();
    let status = Command::new("iptables")
        .args(["-w", "5", what, "INPUT", "-i", "lo", "-p", "tcp", "--dport", &port, "-j", "DROP"])
        .status()
        .expect("iptables runs");
    assert!(status.success(), "iptables {what}: {status}");
}

#[test]
fn a_redis_that_no_packet_reaches() {
    // Rules of the packet filter are root's, and a container may have none.
    let may = Command::new("iptables").args(["-w", "5", "-L", "INPUT", "-n"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: the packet filter cannot be used here");
        return;
    }
    let (shared, redis) = (Shared::new(), RedisServer::start());
    let server = instance(&shared, &redis.url());
    under(&server, |pairs| {
        for _ in 0..sized(2, 6) {
            let partition = Partition::of(redis.port());
            wait_degraded(&server);
            wait_pairs(pairs, 20);
            drop(partition);
            is_used(&server);
        }
    });
}

#[test]
fn a_master_that_dies_and_is_failed_over_by_its_sentinels() {
    let shared = Shared::new();
    let mut sentinels = Sentinels::start();
    let places = sentinels.places();
    let server = shared
        .over(WORKERS, &format!("redis://{}", places[0]), "strict")
        .set("redis.topology", "sentinel")
        .set("redis.sentinel_master", sentinels.name())
        .set(
            "redis.nodes",
            format!("[{}]", places[1..].iter().map(|place| format!("\"{place}\"")).collect::<Vec<_>>().join(",")),
        )
        .set("cache.budget_ms", BUDGET_MS)
        .start();
    under(&server, |pairs| {
        let before = sentinels.master();
        sentinels.servers[before].kill();
        sentinels.wait_for_other_than(before);
        wait_pairs(pairs, 20);
        is_used(&server);
    });
}

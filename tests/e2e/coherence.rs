//! Whoever reads after a write has answered reads what was written, whichever worker of whichever instance answers either.
//!
//! Each pair is a write of a register and a read of it, each over a connection chosen by chance. Other clients read the same
//! registers all the time, so that entries are there to be stale, and computations are under way while the value changes.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use task_mcp_test_servers::RedisServer;

use crate::support::{Crowd, Random, Server, Shared, sized};

/// Clients that write and read, each a register of its own.
const WRITERS: u64 = 4;
/// Clients that only read.
const READERS: u64 = 2;

/// Runs so many pairs; `judge` gets the crowd, the register and the value written, and reads.
fn pairs(servers: &[&Server], pairs: u64, judge: impl Fn(&mut Crowd, &str, u64) + Sync) {
    let (over, judge) = (AtomicBool::new(false), &judge);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut crowd = Crowd::new(servers, 8, writer);
                    let key = format!("r{writer}");
                    for value in 1..=pairs / WRITERS {
                        crowd.call("test_register_write", json!({"key": key, "value": value})).expect("a write");
                        judge(&mut crowd, &key, value);
                    }
                })
            })
            .collect();
        for reader in 0..READERS {
            let over = &over;
            scope.spawn(move || {
                let mut crowd = Crowd::new(servers, 8, 100 + reader);
                let mut random = Random::new(reader);
                while !over.load(Ordering::Relaxed) {
                    let key = format!("r{}", random.below(WRITERS as usize));
                    crowd.call("test_register_read", json!({"key": key})).expect("a read");
                }
            });
        }
        let judged: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        judged.into_iter().for_each(|one| one.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    });
}

fn reads_what_was_written(crowd: &mut Crowd, key: &str, value: u64) {
    let read = crowd.call("test_register_read", json!({"key": key})).expect("a read");
    assert_eq!(read["value"], value, "an older value of {key} was read after the write had answered");
}

/// Calls that an entry answered, of all that could be.
fn answered_from_entries(servers: &[&Server]) -> f64 {
    let labels = [("tool", "test_register_read")];
    servers
        .iter()
        .map(|server| {
            let metrics = server.metrics();
            metrics.sum("task_mcp_cache_calls_total", &[labels[0], ("outcome", "hit")])
        })
        .sum()
}

#[test]
fn no_read_is_older_than_a_write_that_has_answered_with_the_embedded_cache() {
    let shared = Shared::new();
    let server = shared.instance(4).start();
    pairs(&[&server], sized(4_000, 100_000), reads_what_was_written);
    assert!(answered_from_entries(&[&server]) > 100.0, "the cache took part");
}

#[test]
fn no_read_is_older_than_a_write_that_has_answered_over_redis_on_two_machines() {
    let (shared, redis) = (Shared::new(), RedisServer::start());
    let instances = [(); 2].map(|()| shared.over_redis(2, &redis, "strict").start());
    let [one, two] = &instances;
    pairs(&[one, two], sized(4_000, 100_000), reads_what_was_written);
    assert!(answered_from_entries(&[one, two]) > 100.0, "the cache took part");
}

/// The bound that docs/cache.md states for what another machine wrote.
const TRACKED_BOUND: Duration = Duration::from_secs(1);

#[test]
fn tracked_reads_are_older_for_no_longer_than_the_stated_bound() {
    let (shared, redis) = (Shared::new(), RedisServer::start());
    let instances = [(); 2].map(|()| shared.over_redis(2, &redis, "tracked").start());
    let [one, two] = &instances;
    let (older, longest_us) = (AtomicU64::new(0), AtomicU64::new(0));
    let total = sized(4_000, 100_000);
    pairs(&[one, two], total, |crowd, key, value| {
        let answered = Instant::now();
        loop {
            let asked = answered.elapsed();
            let read = crowd.call("test_register_read", json!({"key": key})).expect("a read");
            if read["value"] == value {
                return;
            }
            assert!(asked < TRACKED_BOUND, "{key} was read {asked:?} after the write had answered, and older");
            older.fetch_add(1, Ordering::Relaxed);
            longest_us.fetch_max(asked.as_micros() as u64, Ordering::Relaxed);
        }
    });
    let [older, longest_us] = [older, longest_us].map(AtomicU64::into_inner);
    eprintln!(
        "tracked: {older} of {total} first and further reads were older, at the most {longest_us} us after the write"
    );
    assert!(answered_from_entries(&[one, two]) > 100.0, "the cache took part");
}

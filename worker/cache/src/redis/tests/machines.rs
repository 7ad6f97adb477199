//! Many machines: what one has written, all read.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;

use rand::RngExt;
use task_mcp_config::settings::CacheBackend;
use task_mcp_test_servers::RedisServer;

use super::*;
use crate::{Cache, Computed, Wanted};

const MACHINES: usize = 3;
const TASKS: usize = 4;
const PAIRS: usize = 2_500;

/// Writes and reads of one task, over keys of its own: each write is followed by reads of random processes of random machines.
async fn write_and_read(task: usize, processes: Arc<Vec<Process>>) -> (usize, usize) {
    let mut truth = HashMap::new();
    let (mut stale, mut hits) = (0, 0);
    for number in 0..PAIRS {
        let any = || &processes[rand::rng().random_range(0..processes.len())];
        let name = format!("{task}-{}", rand::rng().random_range(0..8));
        // The write is committed, then bumped, then answered.
        truth.insert(name.clone(), number.to_string());
        any().bump(&name).await;
        for _ in 0..2 {
            let reader = any();
            match reader.look(&name).await {
                Looked::Fresh(found) => {
                    hits += 1;
                    stale += usize::from(text_of(&found.value) != truth[&name]);
                }
                Looked::Nothing(stamps) => {
                    let computed = entry(stamps, &truth[&name]);
                    let _ = reader.tier.store(&key(&name), computed, None).await;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    (stale, hits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_is_read_by_every_process_of_every_machine() {
    let server = RedisServer::start();
    let machines = machines(&server.url(), Coherence::Strict, MACHINES).await;
    let processes: Vec<_> = machines.iter().flat_map(|machine| [machine.sibling(), machine.sibling()]).collect();
    for process in &processes {
        process.settled().await;
    }
    let processes = Arc::new(processes);
    let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(write_and_read(task, Arc::clone(&processes)))).collect();
    let (mut stale, mut hits) = (0, 0);
    for task in tasks {
        let (one_stale, one_hits) = task.await.unwrap();
        stale += one_stale;
        hits += one_hits;
    }
    println!("{} pairs, {hits} hits, {stale} stale", TASKS * PAIRS);
    assert_eq!(stale, 0);
    assert!(hits > TASKS * PAIRS / 2, "{hits} hits: the test is to read entries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracked_machine_reads_its_own_writes_and_hears_of_others_soon() {
    let server = RedisServer::start();
    let machines = machines(&server.url(), Coherence::Tracked, 2).await;
    let (writer, same, other) = (&machines[0], machines[0].sibling(), &machines[1]);
    same.settled().await;
    let (mut delays_us, mut stale) = (Vec::new(), 0);
    for _ in 0..2_000 {
        writer.vouched().await;
        other.vouched().await;
        writer.put("k", "old").await.unwrap();
        assert_eq!(other.text("k").await.as_deref(), Some("old"));
        writer.bump("k").await;
        let bumped = Instant::now();
        assert_ne!(same.text("k").await.as_deref(), Some("old"), "a process of the same machine");
        // When the last read began that answered the old entry.
        let mut delay = Duration::ZERO;
        loop {
            let began = bumped.elapsed();
            if other.text("k").await.as_deref() != Some("old") {
                break;
            }
            (delay, stale) = (began, stale + 1);
            tokio::task::yield_now().await;
        }
        delays_us.push(delay.as_nanos());
    }
    delays_us.sort_unstable();
    let at = |share: usize| delays_us[(delays_us.len() - 1) * share / 1000];
    let [p50, p99, p999, most] = [500, 990, 999, 1000].map(at);
    println!(
        "{stale} stale reads after 2000 bumps; the last began so many ns after it: p50 {p50}, p99 {p99}, p99.9 {p999}, most {most}"
    );
    assert!(most < 1_000_000_000, "{most} ns");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_callers_on_two_machines_one_computes() {
    let server = RedisServer::start();
    let machines = machines(&server.url(), Coherence::Strict, 2).await;
    let (metrics, _scoreboard) = metrics();
    let cache = |machine: &Machinery| {
        let (metrics, redis) = (metrics.cache.clone(), metrics.cache_redis.clone());
        Cache::open(&with_redis(&machine.settings), "store", &machine.commons, metrics, redis).unwrap()
    };
    let caches: Vec<_> = (0..8).map(|number| cache(&machines[number % 2])).collect();
    for (number, cache) in caches.iter().enumerate() {
        // Connected, and trusted.
        eventually("it is in force", async || (cache.health().in_force == "redis").then_some(())).await;
        assert!(
            cache.fetch(wanted(&format!("warm {number}")), || async { Computed::Tell(value("v")) }).await.is_some()
        );
    }
    let count = Arc::new(AtomicUsize::new(0));
    let calls: Vec<_> = (0..64)
        .map(|number| {
            let (cache, count) = (caches[number % caches.len()].clone(), Arc::clone(&count));
            let compute = move || async move {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(300)).await;
                Computed::Keep(value("v"))
            };
            tokio::spawn(async move { cache.fetch(wanted("k"), compute).await.unwrap().value })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), value("v"));
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

fn with_redis(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    settings.cache.backend = CacheBackend::Redis;
    settings.cache.lease_ms = 1_000;
    settings
}

fn wanted(name: &str) -> Wanted<'_> {
    Wanted { key: key(name), tool: 0, name, tags: &[], ttl: None, stale: false }
}

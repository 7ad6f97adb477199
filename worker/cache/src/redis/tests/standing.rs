//! What is told of how it stands.

use task_mcp_scoreboard::Sample;
use task_mcp_telemetry::names;
use task_mcp_test_servers::RedisServer;

use super::*;
use crate::testing::{counted, faults};

fn degraded(process: &Process) -> i64 {
    match process.scoreboard.total(process.scoreboard.find(names::CACHE_DEGRADED, &[]).unwrap()) {
        Some(Sample::Gauge(count)) => count,
        other => panic!("no gauge: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_nothing_says_as_well_whether_it_does_without() {
    let mut server = RedisServer::start();
    let house = machine(&server.url(), Coherence::Strict);
    let idle = house.sibling();
    let all_say = async |expected: i64| {
        eventually(&format!("all say {expected}"), async || {
            [&*house, &idle].iter().all(|process| degraded(process) == expected).then_some(())
        })
        .await;
    };
    for _ in 0..2 {
        all_say(0).await;
        server.kill();
        all_say(1).await;
        server.restart();
    }
    all_say(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_trouble_counts_no_fault() {
    let server = RedisServer::start();
    let one = Process::of(redis_settings(&server.url(), Coherence::Strict), &Commons::create().unwrap());
    one.bump("k").await;
    let _house = one.keep_house();
    one.settled().await;
    let Lease::Mine(token) = one.tier.lease(&key("k")).await else { panic!("nobody else has it") };
    assert!(one.tier.renew(&key("k"), token).await);
    let stamps = one.stamps("k").await;
    one.tier.store(&key("k"), entry(stamps, "v"), Some(token)).await.unwrap();
    one.tier.release(&key("k"), token).await;
    for reason in ["unavailable", "breaker", "timeout", "server", "nonsense"] {
        assert_eq!(
            counted(&one.scoreboard, names::REDIS_FAULTS, &[("for", "cache"), ("reason", reason)]),
            0,
            "{reason}"
        );
    }
    for reason in ["unavailable", "timeout", "full", "corrupt", "late", "fenced"] {
        assert_eq!(faults(&one.scoreboard, reason), 0, "{reason}");
    }
}

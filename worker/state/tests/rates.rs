//! Rate limits over machines, on a real Redis: shared, away, back, and holding nonsense.
#![allow(clippy::unwrap_used)]

mod machine;

use std::time::{Duration, Instant};

use task_mcp_config::Settings;
use task_mcp_scoreboard::{Commons, Quota, Rated};
use task_mcp_state::{Payer, RateLimits, Verdict};
use task_mcp_test_servers::RedisServer;

use self::machine::settings;

/// Nothing is given back while a test runs.
const HOURLY: Quota = Quota { period_us: 3_600_000_000, burst: 6 };
const PAYER: Payer<'_> = Payer::Principal(b"one");

/// A machine of its own, with this Redis.
fn machine(settings: &Settings) -> (Commons, RateLimits) {
    let (commons, state) = machine::machine(settings);
    let limits = state.rate_limits(&commons);
    (commons, limits)
}

async fn check(limits: &RateLimits) -> Verdict {
    limits.check(PAYER, HOURLY).await
}

fn passes(verdict: Verdict) -> bool {
    matches!(verdict.rated, Rated::Allowed { .. })
}

/// Waits until Redis judges; what it says of a payer nobody asks for.
async fn connected(limits: &RateLimits) {
    for _ in 0..1_000 {
        if !limits.check(Payer::Principal(b"nobody"), Quota { period_us: 1, burst: 9 }).await.is_local {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("Redis was never asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_share_one_limit() {
    let server = RedisServer::start();
    let settings = settings(&server.url());
    let [one, two] = [machine(&settings).1, machine(&settings).1];
    for limits in [&one, &two] {
        connected(limits).await;
    }
    for (turn, limits) in [&one, &two, &one, &two, &one, &two].into_iter().enumerate() {
        let Verdict { rated: Rated::Allowed { remaining, reset_us }, is_local: false } = check(limits).await else {
            panic!("turn {turn} was refused or judged here");
        };
        assert_eq!(remaining, 5 - turn as u64);
        assert!(reset_us.div_ceil(HOURLY.period_us) == turn as u64 + 1, "{reset_us}");
    }
    for limits in [&one, &two] {
        let Verdict { rated: Rated::Refused { retry_us, reset_us }, is_local: false } = check(limits).await else {
            panic!("a seventh passed");
        };
        assert!(retry_us <= HOURLY.period_us && reset_us <= 6 * HOURLY.period_us);
        assert!(retry_us > HOURLY.period_us / 2);
    }
    assert!(passes(two.check(Payer::Principal(b"two"), HOURLY).await));
    let keys: Vec<String> = server.tell(&["KEYS", "*"]);
    assert!(keys.iter().all(|key| key.starts_with("{task-mcp:state}:rate:")), "{keys:?}");
    let left_ms: Vec<i64> = keys.iter().map(|key| server.tell(&["PTTL", key])).collect();
    assert!(left_ms.iter().all(|left_ms| *left_ms != -1), "what is past is forgotten: {left_ms:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_refuses_is_not_charged_and_is_refused_here_as_long() {
    const PERIOD_US: u64 = 2_000_000;
    const QUOTA: Quota = Quota { period_us: PERIOD_US, burst: 6 };
    let mut server = RedisServer::start();
    let settings = settings(&server.url());
    let (one, two) = (machine(&settings).1, machine(&settings).1);
    for limits in [&one, &two] {
        connected(limits).await;
    }
    while passes(one.check(PAYER, QUOTA).await) {}
    // By what this machine has seen itself, six would pass.
    let Verdict { rated: Rated::Refused { retry_us, .. }, is_local: false } = two.check(PAYER, QUOTA).await else {
        panic!("it passed")
    };
    assert!(retry_us <= PERIOD_US);
    let asked = evaluated(&server);
    assert!(asked > 0, "Redis counts what it is asked");
    for _ in 0..4 {
        assert!(!passes(two.check(PAYER, QUOTA).await));
    }
    assert_eq!(evaluated(&server), asked, "what Redis has refused it is not asked again");
    server.kill();
    let Verdict { rated: Rated::Refused { retry_us, .. }, .. } = two.check(PAYER, QUOTA).await else {
        panic!("it passed")
    };
    tokio::time::sleep(Duration::from_micros(retry_us)).await;
    assert!(passes(two.check(PAYER, QUOTA).await), "what was refused was not charged");
}

/// Scripts that a server was asked to run.
fn evaluated(server: &RedisServer) -> u64 {
    let info: String = server.tell(&["INFO", "commandstats"]);
    let calls = info
        .lines()
        .filter(|line| line.starts_with("cmdstat_eval"))
        .filter_map(|line| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok());
    calls.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_as_told_passes_after_the_quota_has_shrunk() {
    let server = RedisServer::start();
    let limits = machine(&settings(&server.url())).1;
    connected(&limits).await;
    let (old, new) = (Quota { period_us: 1_000_000, burst: 100 }, Quota { period_us: 200_000, burst: 2 });
    for _ in 0..100 {
        assert!(passes(limits.check(PAYER, old).await));
    }
    // First this machine refuses, and then, if it knows no better, Redis.
    for limits in [&limits, &machine(&settings(&server.url())).1] {
        connected(limits).await;
        let asked = Instant::now();
        let Verdict { rated: Rated::Refused { retry_us, .. }, .. } = limits.check(PAYER, new).await else {
            continue;
        };
        assert!(retry_us <= new.period_us, "{retry_us}");
        tokio::time::sleep_until((asked + Duration::from_micros(retry_us)).into()).await;
        let mut refused = 0;
        while !passes(limits.check(PAYER, new).await) {
            refused += 1;
            assert!(asked.elapsed() < Duration::from_secs(5), "{refused} were refused");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_machine_has_its_own_and_no_more() {
    let mut server = RedisServer::start();
    let settings = settings(&server.url());
    let (one, two) = (machine(&settings).1, machine(&settings).1);
    for limits in [&one, &two] {
        connected(limits).await;
    }
    assert!(passes(check(&one).await) && passes(check(&one).await));
    server.kill();
    for (limits, left) in [(&one, 4), (&two, 6)] {
        for _ in 0..left {
            let verdict = check(limits).await;
            assert!(passes(verdict) && verdict.is_local, "{verdict:?}");
        }
        assert!(!passes(check(limits).await), "what this machine let pass is remembered");
    }
    server.restart();
    connected(&one).await;
    assert!(!passes(check(&one).await), "a Redis that forgot does not forget for this machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_delays_nobody_for_long_and_nonsense_is_no_limit() {
    let server = RedisServer::start();
    let (_commons, limits) = machine(&settings(&server.url()));
    connected(&limits).await;
    assert!(passes(check(&limits).await));
    let keys: Vec<String> = server.tell(&["KEYS", "*"]);
    for key in &keys {
        let _: () = server.tell(&["SET", key, "nonsense"]);
    }
    let verdict = check(&limits).await;
    assert!(passes(verdict) && !verdict.is_local, "nonsense is nothing: {verdict:?}");
    for key in &keys {
        let _: i64 = server.tell(&["DEL", key]);
        let _: i64 = server.tell(&["LPUSH", key, "x"]);
    }
    let verdict = check(&limits).await;
    assert!(passes(verdict) && verdict.is_local, "a key of another kind is an error: {verdict:?}");
    server.stop();
    let asked = Instant::now();
    let verdict = check(&limits).await;
    assert!(passes(verdict) && verdict.is_local);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    server.cont();
}

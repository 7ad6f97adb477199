//! A server that is full, refuses, hangs or answers nonsense: a miss, counted, within the budget.

use std::net::Ipv4Addr;

use proptest::test_runner::TestRng;
use rand::RngExt;
use task_mcp_test_servers::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::testing::faults;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_takes_bumps_and_answers_but_keeps_nothing() {
    let server = RedisServer::builder().max_memory(0, "noeviction").start();
    let one = machine(&server.url(), Coherence::Strict);
    one.settled().await;
    one.put("k", "old").await.unwrap();
    one.put("l", "v").await.unwrap();
    server.tell::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    one.bump("k").await;
    assert!(one.tier.machine.all_untold().is_empty(), "the bump was taken");
    let Looked::Nothing(stamps) = one.look("k").await else { panic!("it is still read") };
    assert_eq!(one.tier.store(&key("k"), entry(stamps, "new"), None).await, Err(CacheFault::Full));
    assert!(matches!(one.tier.lease(&key("k")).await, Lease::None));
    assert_eq!(faults(&one.scoreboard, "full"), 2);
    assert_eq!(one.text("l").await.as_deref(), Some("v"));
    server.tell::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    one.put("k", "new").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_nobody_of_us_has_written_are_misses() {
    let server = RedisServer::start();
    let one = machine(&server.url(), Coherence::Strict);
    one.settled().await;
    let place = one.tier.keys.entry(&key("k"));
    let put = |bytes: &[u8]| server.query::<()>(cmd("SET").arg(&place).arg(bytes));
    one.put("k", "v").await.unwrap();
    let whole: Vec<u8> = server.tell(&["GET", &place]);
    let other = one.sibling();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    let mut version = whole.clone();
    version[4] = 9;
    for (bytes, reason, count) in
        [(&changed, "corrupt", 1), (&version, "foreign", 1), (&whole[..60].to_vec(), "corrupt", 2)]
    {
        put(bytes);
        assert!(matches!(other.look("k").await, Looked::Nothing(_)));
        assert_eq!(faults(&other.scoreboard, reason), count);
    }
    let mut random = proptest::test_runner::TestRunner::deterministic();
    let random: &mut TestRng = random.rng();
    for _ in 0..300 {
        let mut bytes: Vec<u8> = (0..random.random_range(0..120)).map(|_| random.random()).collect();
        bytes.splice(0..bytes.len().min(5), *b"TMCE\x01");
        put(&bytes);
        assert!(matches!(other.look("k").await, Looked::Nothing(_)));
    }
    put(&whole);
    assert_eq!(other.text("k").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_larger_than_allowed_is_not_even_read() {
    let server = RedisServer::start();
    let one = machine(&server.url(), Coherence::Strict);
    one.settled().await;
    let place = one.tier.keys.entry(&key("k"));
    server.query::<()>(cmd("SETRANGE").arg(&place).arg(300 << 20).arg("x"));
    let began = Instant::now();
    assert!(matches!(one.look("k").await, Looked::Nothing(_)));
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_another_kind_are_healed() {
    let server = RedisServer::start();
    let one = machine(&server.url(), Coherence::Strict);
    one.settled().await;
    one.put("k", "v").await.unwrap();
    for words in [&["DEL"][..], &["SET", "x"], &["HSET", "inc", "nonsense"], &["HSET", "inc", "0"]] {
        if words != ["HSET", "inc", "nonsense"] {
            server.tell::<()>(&["DEL", &one.tier.keys.epochs]);
        }
        if let [command, rest @ ..] = words
            && !rest.is_empty()
        {
            server.tell::<()>(&[&[*command, &one.tier.keys.epochs], rest].concat());
        }
        eventually("the epochs are in order again", async || {
            matches!(one.look("k").await, Looked::Nothing(_)).then_some(())
        })
        .await;
        one.put("k", "v").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_costs_the_budget_at_most() {
    let server = RedisServer::start();
    let mut settings = redis_settings(&server.url(), Coherence::Strict);
    settings.cache.budget_ms = 50;
    settings.redis.breaker_failures = 1_000;
    let one = machine_with(settings);
    one.settled().await;
    let stamps = one.stamps("k").await;
    server.stop();
    let took = async |what: &str, done: &mut (dyn Future<Output = ()> + Unpin + Send)| {
        let began = Instant::now();
        done.await;
        assert!(began.elapsed() < Duration::from_millis(500), "{what} took {:?}", began.elapsed());
    };
    took("look", &mut Box::pin(async { assert!(matches!(one.look("k").await, Looked::Untrusted)) })).await;
    took("lease", &mut Box::pin(async { assert!(matches!(one.tier.lease(&key("k")).await, Lease::None)) })).await;
    took("bump", &mut Box::pin(one.bump("k"))).await;
    took("store", &mut Box::pin(async { _ = one.tier.store(&key("k"), entry(stamps, "v"), None).await })).await;
    took("renew", &mut Box::pin(async { assert!(!one.tier.renew(&key("k"), Token(1)).await) })).await;
    took("release", &mut Box::pin(one.tier.release(&key("k"), Token(1)))).await;
    assert_eq!(one.tier.health().in_force, "none");
    server.cont();
    one.settled().await;
    eventually("it is in force again", async || (one.tier.health().in_force == "redis").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_nonsense_is_none() {
    for answer in
        ["-ERR no\r\n", "*-1\r\n", ":1\r\n", "$3\r\nabc\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "%1\r\n+a\r\n+b\r\n"]
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let _server = Running(tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                        let _ = stream.write_all(answer.repeat(8).as_bytes()).await;
                    }
                });
            }
        }));
        let mut settings = redis_settings(&url, Coherence::Strict);
        settings.cache.budget_ms = 20;
        let one = machine_with(settings);
        for _ in 0..20 {
            assert!(matches!(one.look("k").await, Looked::Untrusted));
            one.bump("k").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(one.tier.health().in_force, "none");
    }
}

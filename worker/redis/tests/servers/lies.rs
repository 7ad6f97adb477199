//! Servers that are none, or not well.

use std::{
    io::{Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use task_mcp_redis::{BreakerState, RedisError, Unreachable};

use crate::{
    fake::Fake,
    world::{AMPLE, SHORT, eventually, open, settings},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_redis_is_not_used() {
    let web = Fake::serve(|mut stream| {
        _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        _ = stream.read_to_end(&mut Vec::new());
    });
    let reason = open(&settings(&web.url)).down().await;
    assert!(reason.contains("protocol"), "{reason}");

    let random = Fake::serve(|mut stream| {
        _ = stream.write_all(&(0..=255u8).cycle().take(100_000).collect::<Vec<_>>());
        _ = stream.read_to_end(&mut Vec::new());
    });
    open(&settings(&random.url)).down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_answers_costs_the_budget_at_most() {
    let silent = Fake::serve(|mut stream| _ = stream.read_to_end(&mut Vec::new()));
    let world = open(&settings(&silent.url));
    let started = Instant::now();
    let error = world.get(SHORT).await.unwrap_err();
    assert!(matches!(error, RedisError::Unavailable(Unreachable::Connecting)), "{error:?}");
    assert!(started.elapsed() < SHORT + Duration::from_secs(1));
    let reason = world.down().await;
    assert_eq!(reason, "nothing came of it within 2000 ms");
    // After that nobody waits for a connection that failed before.
    let started = Instant::now();
    for _ in 0..100 {
        world.get(AMPLE).await.unwrap_err();
    }
    assert!(started.elapsed() < AMPLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_are_told_and_the_connection_is_made_anew() {
    let answer = Arc::new(Mutex::new(b"$5\r\nvalue\r\n".to_vec()));
    let script = Arc::clone(&answer);
    let fake = Fake::scripted(move |_| Some(script.lock().unwrap().clone()));
    let world = open(&settings(&fake.url));
    let mut connects = 0;
    for (bytes, expected) in [
        // Of no type.
        (&b"!!!!\r\n"[..], "nonsense"),
        (b"*9999999999999999999\r\n", "nonsense"),
        // Announced, and never sent.
        (b"$536870911\r\nx", "timeout"),
        (b"*2147483647\r\n", "timeout"),
    ] {
        *answer.lock().unwrap() = b"$5\r\nvalue\r\n".to_vec();
        let well = world.answer("a server that is well again is asked").await;
        assert_eq!(well.value.as_deref(), Some("value"));
        assert!(world.connects() > connects, "on a new connection");
        connects = world.connects();
        *answer.lock().unwrap() = bytes.to_vec();
        let before = world.failures(expected);
        let started = Instant::now();
        let error = world.get(SHORT).await.unwrap_err();
        assert!(started.elapsed() < SHORT + Duration::from_secs(1));
        assert_eq!(world.failures(expected), before + 1, "{}: {error:?}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_not_what_was_wanted_is_the_matter_of_its_command_alone() {
    let fake = Fake::scripted(|command| {
        Some(if command[1] == "odd" { b"*2\r\n:1\r\n:2\r\n".to_vec() } else { b"$5\r\nvalue\r\n".to_vec() })
    });
    let world = open(&settings(&fake.url));
    world.up().await;
    for round in 1..=20 {
        let mut odd = redis::cmd("GET");
        odd.arg("odd");
        let (odd, other) = tokio::join!(world.redis.ask::<String>(odd, AMPLE), world.get(AMPLE));
        let error = odd.unwrap_err();
        assert!(matches!(error, RedisError::Nonsense(_)), "{error:?}");
        assert_eq!(other.unwrap().value.as_deref(), Some("value"));
        assert_eq!(world.failures("nonsense"), round);
    }
    assert_eq!((world.connects(), world.redis.status().breaker), (1, BreakerState::Closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_too_late_is_given_to_nobody_else() {
    let slow = Arc::new(AtomicBool::new(true));
    let script = Arc::clone(&slow);
    let fake = Fake::scripted(move |command| {
        if script.swap(false, Ordering::SeqCst) {
            thread::sleep(SHORT * 3);
            return Some(b"$3\r\nold\r\n".to_vec());
        }
        Some(format!("${}\r\n{}\r\n", command[1].len(), command[1]).into_bytes())
    });
    let world = open(&settings(&fake.url));
    world.up().await;
    let error = world.get(SHORT).await.unwrap_err();
    assert!(matches!(error, RedisError::Timeout { .. }), "{error:?}");
    for name in ["a", "b", "c"] {
        let answer = world.redis.ask::<String>(redis::cmd("GET").arg(name), AMPLE).await.unwrap();
        assert_eq!(answer.value, name);
    }
    assert_eq!(world.connects(), 1, "one late answer is no reason to leave");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_on_every_command_open_the_breaker_once_and_probes_are_few() {
    let (well, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (script_well, script_asked) = (Arc::clone(&well), Arc::clone(&asked));
    let fake = Fake::scripted(move |_| {
        script_asked.fetch_add(1, Ordering::SeqCst);
        Some(if script_well.load(Ordering::SeqCst) { b"$1\r\nv\r\n".to_vec() } else { b"-ERR no\r\n".to_vec() })
    });
    let world = open(&settings(&fake.url));
    let started = Instant::now();
    let mut refused_at_once = 0;
    while started.elapsed() < Duration::from_secs(2) {
        match world.get(AMPLE).await.unwrap_err() {
            RedisError::Breaker { .. } => refused_at_once += 1,
            RedisError::Server(_) | RedisError::Unavailable(_) => {}
            error => panic!("{error:?}"),
        }
        tokio::task::yield_now().await;
    }
    assert!(refused_at_once > 100, "{refused_at_once}");
    // Five that open it, and one for each connection after that. With delays drawn from up to 20, 40, 80, 160, 200, 200 ... ms,
    // forty probes in two seconds would need them to be half of what they are on average.
    let (asked, accepted) = (asked.load(Ordering::SeqCst), fake.accepted());
    assert!(accepted < 40 && asked < 45, "{accepted} connections, {asked} commands");
    well.store(true, Ordering::SeqCst);
    world.answer("a server that is well again is asked").await;
    assert_eq!(world.redis.status().breaker, BreakerState::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_to_connect_are_few_while_it_is_away() {
    let fake = Fake::serve(drop);
    let world = open(&settings(&fake.url));
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        assert!(world.get(SHORT).await.is_err());
    }
    assert!(fake.accepted() < 40, "{} attempts", fake.accepted());
    eventually("the breaker is open", || (world.redis.status().breaker == BreakerState::Open).then_some(())).await;
    let error = world.get(SHORT).await.unwrap_err();
    assert!(matches!(error, RedisError::Breaker { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_up_on_every_command_is_not_stormed() {
    let fake = Fake::scripted(|_| None);
    let world = open(&settings(&fake.url));
    let started = Instant::now();
    let mut opened = false;
    while started.elapsed() < Duration::from_secs(2) {
        let error = world.get(SHORT).await.unwrap_err();
        opened |= matches!(error, RedisError::Breaker { .. });
        assert!(!opened || world.breaker_open(), "that it can be connected to is no proof");
    }
    assert!(opened);
    assert!(fake.accepted() < 40, "{} connections", fake.accepted());
}

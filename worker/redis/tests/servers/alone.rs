//! One server: well, stopped, killed, restarted, made a replica.

use std::time::{Duration, Instant};

use task_mcp_redis::{BreakerState, RedisError, Unreachable};
use task_mcp_test_servers::RedisServer;

use crate::world::{AMPLE, KEY, PATIENCE, SHORT, eventually, open, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_answers_and_says_which_it_is() {
    let server = RedisServer::start();
    let world = open(&settings(&server.url()));
    // At once: what is asked while the connection is made waits for it.
    let set = world.set("v").await.unwrap();
    let got = world.get(AMPLE).await.unwrap();
    assert_eq!(got.value.as_deref(), Some("v"));
    assert_eq!((set.server, Some(set.server)), (got.server, world.redis.server()));
    assert!(world.redis.status().is_up());
    let clients: String = server.tell(&["CLIENT", "LIST"]);
    assert!(clients.contains("name=task-mcp:cache"), "{clients}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_by_number_and_a_socket_are_reached() {
    let server = RedisServer::builder().socket().start();
    let world = open(&settings(&format!("{}?db=3", server.url())));
    world.set("v").await.unwrap();
    assert_eq!(server.tell::<String>(&["INFO", "keyspace"]).lines().nth(1).unwrap().split(':').next(), Some("db3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_pipeline_fails_it_unless_it_is_wanted() {
    let server = RedisServer::start();
    let world = open(&settings(&server.url()));
    let mut both = redis::pipe();
    both.cmd("SET").arg(KEY).arg("v").cmd("LPUSH").arg(KEY).arg("x");
    let error = world.redis.ask::<Vec<redis::Value>>(&mut both, AMPLE).await.unwrap_err();
    assert_eq!(error.code().as_deref(), Some("WRONGTYPE"), "{error:?}");
    both.ignore_errors();
    let answer = world.redis.ask::<Vec<redis::Value>>(both, AMPLE).await.unwrap();
    assert!(matches!(answer.value.as_slice(), [redis::Value::Okay, redis::Value::ServerError(_)]), "{answer:?}");
    let mut atomic = redis::pipe();
    atomic.atomic().cmd("SET").arg(KEY).arg("w").ignore().cmd("GET").arg(KEY);
    assert_eq!(world.redis.ask::<(String,)>(atomic, AMPLE).await.unwrap().value.0, "w");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_commands_do_not_open_the_breaker() {
    let server = RedisServer::start();
    let world = open(&settings(&server.url()));
    world.set("v").await.unwrap();
    for _ in 0..50 {
        let error = world.redis.ask::<()>(redis::cmd("LPUSH").arg(KEY).arg("x"), AMPLE).await.unwrap_err();
        assert_eq!(error.code().as_deref(), Some("WRONGTYPE"));
    }
    assert_eq!(world.redis.status().breaker, BreakerState::Closed);
    assert_eq!((world.failures("server"), world.connects()), (50, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_another_one_and_is_found_again() {
    let mut server = RedisServer::start();
    let world = open(&settings(&server.url()));
    world.set("v").await.unwrap();
    let before = world.up().await;
    server.kill();
    let reason = world.down().await;
    assert!(reason.contains(&server.place()), "{reason}");
    let error = world.get(AMPLE).await.unwrap_err();
    assert!(
        matches!(error, RedisError::Unavailable(Unreachable::Down { .. }) | RedisError::Breaker { .. }),
        "{error:?}"
    );
    server.restart();
    let after = world.answer("a restarted server is asked again").await;
    assert_ne!(after.server, before);
    assert_eq!(after.value, None, "it is empty");
    assert!(world.connects() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_yet_is_found_when_it_is() {
    let mut server = RedisServer::start();
    server.kill();
    let world = open(&settings(&server.url()));
    world.down().await;
    server.restart();
    world.answer("a server that starts later is asked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_costs_the_budget_then_nothing_and_comes_back() {
    let server = RedisServer::start();
    let world = open(&settings(&server.url()));
    world.set("v").await.unwrap();
    server.stop();
    let mut timeouts = 0;
    let opened = loop {
        let started = Instant::now();
        let error = world.get(SHORT).await.unwrap_err();
        // Far below the time a connection may take, and far above what this machine may stand still.
        assert!(started.elapsed() < SHORT + Duration::from_secs(1), "{:?}", started.elapsed());
        timeouts += u32::from(matches!(error, RedisError::Timeout { .. }));
        if matches!(error, RedisError::Breaker { .. }) {
            break Instant::now();
        }
    };
    assert!(timeouts >= 1);
    assert!(world.breaker_open());
    for _ in 0..1000 {
        assert!(world.get(AMPLE).await.is_err());
    }
    assert!(opened.elapsed() < AMPLE, "a thousand calls cost no budget");
    server.cont();
    let answer = world.answer("a server that goes on is asked again").await;
    assert_eq!(answer.value.as_deref(), Some("v"));
    eventually("the breaker is closed", || (!world.breaker_open()).then_some(())).await;
    assert!(world.redis.status().is_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_commands_wait_for_their_answers() {
    let server = RedisServer::start();
    let world = open(&settings(&server.url()));
    world.set("v").await.unwrap();
    server.stop();
    let asked: Vec<_> = (0..1100)
        .map(|_| {
            let redis = world.redis.clone();
            tokio::spawn(async move { redis.ask::<Option<String>>(redis::cmd("GET").arg(KEY), AMPLE).await })
        })
        .collect();
    eventually("those beyond the limit are refused", || (world.failures("unavailable") >= 76).then_some(())).await;
    server.cont();
    let mut refused = 0;
    for one in asked {
        match one.await.unwrap() {
            Ok(answer) => assert_eq!(answer.value.as_deref(), Some("v")),
            Err(RedisError::Unavailable(Unreachable::Busy { limit: 1024 })) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(refused, 76);
    assert_eq!(world.redis.status().breaker, BreakerState::Closed, "a full queue is no fault of the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_not_used() {
    let master = RedisServer::start();
    let replica = RedisServer::builder().replica_of(&master).start();
    let world = open(&settings(&replica.url()));
    let reason = world.down().await;
    assert!(reason.contains("is no master"), "{reason}");
    assert!(world.get(SHORT).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_made_a_replica_refuses_at_once_what_counts_as_a_write_and_is_left_soon() {
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let world = open(&settings(&server.url()));
    world.set("old").await.unwrap();
    server.follow(&other);
    // A read would still be answered here, until the connection is next asked what it is.
    let error = world.redis.ask::<Option<String>>(redis::cmd("GETEX").arg(KEY), AMPLE).await.unwrap_err();
    assert!(error.code().as_deref() == Some("READONLY") || matches!(error, RedisError::Unavailable(_)), "{error:?}");
    let reason = world.down().await;
    assert!(reason.contains("is no master"), "{reason}");
    server.tell::<()>(&["REPLICAOF", "NO", "ONE"]);
    world.answer("a replica made a master is asked again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_to_a_master_made_a_replica_is_left() {
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let world = open(&settings(&server.url()));
    world.up().await;
    server.follow(&other);
    let reason = world.down().await;
    assert!(reason.contains("is no master"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_left_alone_and_asked_again_when_it_has_room() {
    let server = RedisServer::start();
    let world = open(&settings(&server.url()));
    world.set("v").await.unwrap();
    server.tell::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut refused = 0;
    loop {
        match world.set("w").await.unwrap_err() {
            RedisError::Breaker { failures } => {
                assert_eq!(failures, 5);
                break;
            }
            error => assert_eq!(error.code().as_deref(), Some("OOM"), "{error:?}"),
        }
        refused += 1;
    }
    assert_eq!(refused, 5);
    server.tell::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    world.answer("a server that has room again is asked").await;
    world.set("w").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_ends_with_its_last_handle() {
    let server = RedisServer::start();
    let world = open(&settings(&server.url()));
    world.up().await;
    let clone = world.redis.clone();
    drop(world);
    let clients = || server.tell::<String>(&["CLIENT", "LIST"]);
    assert!(clients().contains("task-mcp:cache"));
    assert!(clone.status().is_up());
    drop(clone);
    task_mcp_test_servers::eventually(PATIENCE, "the connection is closed", || {
        (!clients().contains("task-mcp:cache")).then_some(())
    });
}

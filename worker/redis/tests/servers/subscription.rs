//! Channels, over losses.

use std::time::Duration;

use task_mcp_redis::{Heard, RedisError, ServerId, Subscription};
use task_mcp_test_servers::RedisServer;
use tokio::time::timeout;

use crate::world::{AMPLE, PATIENCE, SHORT, World, open, settings};

async fn subscribe(world: &World) -> Subscription {
    world.redis.subscribe(&["one".to_owned(), "two".to_owned()]).await.unwrap()
}

async fn next(subscription: &mut Subscription) -> Heard {
    timeout(PATIENCE, subscription.next()).await.expect("something is heard")
}

async fn joined(subscription: &mut Subscription) -> ServerId {
    loop {
        if let Heard::Joined { server } = next(subscription).await {
            return server;
        }
    }
}

fn message(channel: &str, payload: &str) -> Heard {
    Heard::Message { channel: channel.to_owned(), payload: payload.as_bytes().to_vec() }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_order_and_again_after_a_restart() {
    let mut server = RedisServer::start();
    let world = open(&settings(&server.url()));
    let mut subscription = subscribe(&world).await;
    let Heard::Joined { server: first } = next(&mut subscription).await else { panic!("not joined") };
    assert_eq!(first, world.up().await, "the same server has the same name on both connections");
    server.tell::<()>(&["PUBLISH", "one", "a"]);
    server.tell::<()>(&["PUBLISH", "other", "b"]);
    server.tell::<()>(&["PUBLISH", "two", "c"]);
    assert_eq!(next(&mut subscription).await, message("one", "a"));
    assert_eq!(next(&mut subscription).await, message("two", "c"));
    server.kill();
    assert!(matches!(next(&mut subscription).await, Heard::Lost { .. }));
    assert!(subscription.ping(SHORT).await.is_err());
    server.restart();
    let Heard::Joined { server: second } = next(&mut subscription).await else { panic!("not joined again") };
    assert_ne!(first, second);
    server.tell::<()>(&["PUBLISH", "one", "d"]);
    assert_eq!(next(&mut subscription).await, message("one", "d"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_before_a_ping_is_there_after_it() {
    let server = RedisServer::start();
    let world = open(&settings(&server.url()));
    let mut subscription = subscribe(&world).await;
    let joined = joined(&mut subscription).await;
    for round in 0..20 {
        for number in 0..50 {
            server.tell::<()>(&["PUBLISH", "one", &format!("{round} {number}")]);
        }
        assert_eq!(subscription.ping(AMPLE).await.unwrap(), joined);
        for number in 0..50 {
            let heard = timeout(Duration::ZERO, subscription.next()).await.expect("it is there already");
            assert_eq!(heard, message("one", &format!("{round} {number}")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_noticed_and_a_ping_costs_its_budget() {
    let server = RedisServer::start();
    let world = open(&settings(&server.url()));
    let mut subscription = subscribe(&world).await;
    joined(&mut subscription).await;
    server.stop();
    let started = std::time::Instant::now();
    let error = subscription.ping(SHORT).await.unwrap_err();
    assert!(matches!(error, RedisError::Timeout { .. } | RedisError::Unavailable(_)), "{error:?}");
    assert!(started.elapsed() < SHORT + Duration::from_secs(1));
    assert!(matches!(next(&mut subscription).await, Heard::Lost { .. }));
    server.cont();
    joined(&mut subscription).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_too_far_behind_is_told_so() {
    let server = RedisServer::start();
    let world = open(&settings(&server.url()));
    let mut subscription = subscribe(&world).await;
    joined(&mut subscription).await;
    let mut flood = redis::Cmd::new();
    flood.arg("EVAL").arg("for i = 1, 20000 do redis.call('PUBLISH', 'one', i) end").arg(0);
    server.query::<()>(&flood);
    let mut heard = 0;
    let reason = loop {
        match next(&mut subscription).await {
            Heard::Message { payload, .. } => {
                heard += 1;
                assert_eq!(payload, heard.to_string().into_bytes(), "none is left out before the loss is told");
            }
            Heard::Lost { reason } => break reason,
            Heard::Joined { .. } => panic!("joined without a loss"),
        }
    };
    assert_eq!(reason, "more messages than could be taken");
    assert!(heard < 20_000);
    joined(&mut subscription).await;
    server.tell::<()>(&["PUBLISH", "two", "x"]);
    assert_eq!(next(&mut subscription).await, message("two", "x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_its_handle() {
    let server = RedisServer::start();
    let world = open(&settings(&server.url()));
    let mut subscription = subscribe(&world).await;
    joined(&mut subscription).await;
    let listeners = || server.tell::<Vec<redis::Value>>(&["PUBSUB", "CHANNELS"]).len();
    assert_eq!(listeners(), 2);
    drop(subscription);
    task_mcp_test_servers::eventually(PATIENCE, "nobody listens", || (listeners() == 0).then_some(()));
    assert!(world.redis.subscribe(&[]).await.is_err());
}

//! What records in Redis promise beyond that.

use super::*;
use crate::testing::eventually;

#[tokio::test]
async fn names_of_what_has_ended_do_not_pile_up() {
    let server = RedisServer::start();
    let records = in_redis_of(&server).records;
    for number in 0..20 {
        records.put(Kind::Nonce, &number.to_string(), "x", Duration::from_millis(1)).await.unwrap();
    }
    let names = || server.tell::<usize>(&["ZCARD", "{test:state}:names:nonce"]);
    assert!(names() > 0);
    eventually(async || {
        records.put(Kind::Nonce, "other", "x", HOUR).await.unwrap();
        (names() == 1).then_some(())
    })
    .await;
    assert_eq!(server.tell::<usize>(&["ZCARD", "{test:state}:ends:nonce"]), 1);
}

#[tokio::test]
async fn every_key_is_below_one_base_and_ends() {
    let server = RedisServer::start();
    let records = in_redis_of(&server).records;
    records.put(Kind::Task, "a:b", "x", HOUR).await.unwrap();
    let keys: Vec<String> = server.tell(&["KEYS", "*"]);
    assert!(keys.iter().all(|key| key.starts_with("{test:state}:")), "{keys:?}");
    assert!(server.tell::<i64>(&["PTTL", "{test:state}:task:a:b"]) > 3_500_000);
}

#[tokio::test]
async fn a_server_that_forgot_the_script_is_told_it_again() {
    let server = RedisServer::start();
    let records = in_redis_of(&server).records;
    records.put(Kind::Task, "a", "1", HOUR).await.unwrap();
    server.tell::<()>(&["SCRIPT", "FLUSH"]);
    records.put(Kind::Task, "a", "2", HOUR).await.unwrap();
    assert_eq!(records.get(Kind::Task, "a").await.unwrap().unwrap().value, "2");
}

#[tokio::test]
async fn nonsense_under_a_key_is_an_error_and_can_be_overwritten() {
    let server = RedisServer::start();
    let records = in_redis_of(&server).records;
    server.tell::<()>(&["SET", "{test:state}:task:a", "nonsense"]);
    assert!(matches!(records.get(Kind::Task, "a").await, Err(StateError::Unreadable(_))));
    assert_eq!(records.replace(Kind::Task, "a", Version(1), "x", None).await.ok().flatten(), None);
    records.put(Kind::Task, "a", "x", HOUR).await.unwrap();
    assert_eq!(records.get(Kind::Task, "a").await.unwrap().unwrap().value, "x");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_no_longer_than_the_limit() {
    let server = RedisServer::start();
    let limit = Duration::from_millis(100);
    let records = Records::remote(connection(&server), BASE, limit, metrics());
    eventually(async || records.put(Kind::Task, "a", "1", HOUR).await.ok()).await;
    server.stop();
    let error = records.put(Kind::Task, "a", "2", HOUR).await.unwrap_err();
    assert!(matches!(error, StateError::Timeout { .. } | StateError::Redis(_)), "{error:?}");
    server.cont();
    eventually(async || records.put(Kind::Task, "b", "3", HOUR).await.ok()).await;
}

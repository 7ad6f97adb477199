//! What is said of it.

use task_mcp_test_servers::{Log, RedisServer};

use crate::world::{SHORT, eventually, open, settings};

// One thread: the subscriber is that of the test's thread, and the keeper runs on it.
#[tokio::test]
async fn a_loss_and_a_return_are_one_line_each() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(log.clone()).finish());
    let mut server = RedisServer::builder().password("geheim").start();
    let world = open(&settings(&server.url()));
    world.up().await;
    server.kill();
    eventually("the breaker is open", || world.breaker_open().then_some(())).await;
    for _ in 0..100 {
        world.get(SHORT).await.unwrap_err();
    }
    server.restart();
    world.up().await;
    let text = log.text();
    let lines = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("it is left alone until a probe succeeds"), 1, "{text}");
    assert_eq!(lines("it is asked again"), 1, "{text}");
    assert_eq!(lines("Connected to Redis"), 2, "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(!text.contains("geheim"), "{text}");
}

//! What operators ask.

use task_mcp_test_servers::RedisServer;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_counted_shown_and_removed_by_pattern_everywhere() {
    let server = RedisServer::start();
    // Keys of others are left alone.
    server.tell::<()>(&["SET", "e:other", "x"]);
    let both = machines(&server.url(), Coherence::Strict, 2).await;
    let (one, two) = (&both[0], &both[1]);
    for number in 0..1_200 {
        one.put(&format!("k{number}"), &format!("v{number}")).await.unwrap();
    }
    assert_eq!(two.text("k7").await.as_deref(), Some("v7"));
    let stats = one.tier.stats().await;
    assert_eq!((stats.entries, stats.health.in_force), (Some(1_200), "redis"));
    let shown = one.tier.inspect("t v12?", 5).await.unwrap();
    assert_eq!(shown.len(), 5);
    assert!(shown.iter().all(|one| one.state == "fresh" && one.name.starts_with("t v12") && !one.error));
    assert_eq!(one.tier.inspect(&key("k9").to_string(), 9).await.unwrap()[0].name, "t v9");
    one.bump("k9").await;
    assert_eq!(one.tier.inspect(&key("k9").to_string(), 9).await.unwrap()[0].state, "invalidated");
    assert_eq!(one.tier.invalidate_pattern("t v7").await.unwrap(), 1);
    assert_eq!(two.text("k7").await, None, "it was in the memory of another machine");
    assert_eq!(two.text("k8").await.as_deref(), Some("v8"));
    assert_eq!(one.tier.invalidate_pattern("*").await.unwrap(), 1_199);
    agree(&both).await;
    assert_eq!(two.text("k8").await, None);
    assert_eq!(one.tier.stats().await.entries, Some(0));
    assert_eq!(server.tell::<String>(&["GET", "e:other"]), "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_without_tags_is_removed_from_every_memory_too() {
    let server = RedisServer::start();
    let both = machines(&server.url(), Coherence::Strict, 2).await;
    let Looked::Nothing(stamps) = both[0].tier.look(&key("k"), &[]).await else { panic!("trusted") };
    both[0].tier.store(&key("k"), entry(stamps, "v"), None).await.unwrap();
    assert!(matches!(both[1].tier.look(&key("k"), &[]).await, Looked::Fresh(_)));
    assert_eq!(both[0].tier.invalidate_pattern("t *").await.unwrap(), 1);
    assert!(!matches!(both[1].tier.look(&key("k"), &[]).await, Looked::Fresh(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_they_say_so() {
    let mut settings = redis_settings("redis://127.0.0.1:1", Coherence::Strict);
    settings.redis.connect_timeout_ms = 100;
    let one = machine_with(settings);
    assert!(one.tier.inspect("*", 1).await.is_err());
    assert!(one.tier.invalidate_pattern("*").await.is_err());
    let stats = one.tier.stats().await;
    assert_eq!((stats.health.in_force, stats.entries), ("none", None));
    assert!(stats.health.reason.is_some());
}

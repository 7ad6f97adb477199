//! A master that sentinels name.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use task_mcp_config::settings::{Redis as Settings, RedisTopology, Secret};
use task_mcp_test_servers::{RedisServer, Sentinels};

use crate::{
    fake::Fake,
    world::{AMPLE, eventually, open, settings},
};

fn of(sentinels: &Sentinels) -> Settings {
    let mut places = sentinels.places().into_iter();
    let mut settings = settings(&format!("redis://{}", places.next().unwrap()));
    settings.topology = RedisTopology::Sentinel;
    settings.nodes = places.collect();
    settings.sentinel_master = sentinels.name().to_owned();
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_the_new_master_is_asked_and_the_old_one_is_not() {
    let sentinels = Sentinels::start();
    let world = open(&of(&sentinels));
    world.set("v").await.unwrap();
    let before = world.up().await;
    sentinels.failover();
    // Whoever answers from now on is the new master: sentinels close the connections to the old one.
    eventually("the new master is found", || world.redis.server().filter(|server| *server != before)).await;
    let after = world.answer("the new master is asked").await;
    assert_ne!(after.server, before);
    assert_eq!(after.value.as_deref(), Some("v"));
    world.set("w").await.unwrap();
    assert_eq!(sentinels.servers[1].tell::<String>(&["GET", crate::world::KEY]), "w");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_master_is_replaced() {
    let mut sentinels = Sentinels::start();
    let world = open(&of(&sentinels));
    world.set("v").await.unwrap();
    let before = world.up().await;
    sentinels.servers[0].kill();
    sentinels.wait_for_other_than(0);
    let after = world.answer("the new master is asked").await;
    assert_ne!(after.server, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_that_are_gone_or_stopped_are_passed_over() {
    let mut sentinels = Sentinels::start();
    sentinels.stop(0);
    sentinels.kill(1);
    let world = open(&of(&sentinels));
    world.get(AMPLE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_have_a_password_of_their_own() {
    let sentinels = Sentinels::with_password("geheim");
    let mut settings = of(&sentinels);
    let reason = open(&settings).down().await;
    assert!(reason.contains("NOAUTH"), "{reason}");
    settings.sentinel_password = Secret::new("geheim");
    open(&settings).get(AMPLE).await.unwrap();
    settings.sentinel_master = "other".to_owned();
    let reason = open(&settings).down().await;
    assert!(reason.contains("knows no master named \"other\""), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_does_not_know_it_was_replaced_is_left() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let named = Arc::new(AtomicU16::new(servers[0].port()));
    let script = Arc::clone(&named);
    let sentinel = Fake::scripted(move |_| {
        let port = script.load(Ordering::SeqCst).to_string();
        Some(format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len()).into_bytes())
    });
    let mut settings = settings(&sentinel.url);
    settings.topology = RedisTopology::Sentinel;
    settings.sentinel_master = "main".to_owned();
    let world = open(&settings);
    world.set("v").await.unwrap();
    let before = world.up().await;
    // The first one runs on, and says it is a master.
    named.store(servers[1].port(), Ordering::SeqCst);
    let after = eventually("the new master is found", || world.redis.server().filter(|server| *server != before)).await;
    assert_eq!(world.get(AMPLE).await.unwrap().server, after);
}

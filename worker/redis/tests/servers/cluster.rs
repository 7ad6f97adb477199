//! A master that a cluster's slots name.

use task_mcp_config::settings::{Redis as Settings, RedisTopology};
use task_mcp_test_servers::Cluster;

use crate::world::{AMPLE, KEY, eventually, open, settings};

fn of(places: &[String]) -> Settings {
    let mut settings = settings(&format!("redis://{}", places[0]));
    settings.topology = RedisTopology::Cluster;
    settings.nodes = places[1..].to_vec();
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_the_slot_is_asked_also_after_the_slot_moved() {
    let cluster = Cluster::start();
    let slot = cluster.slot_of(KEY);
    let owner = cluster.owner(slot, 0).unwrap();
    // Whichever node is asked first.
    for place in cluster.places() {
        let world = open(&of(&[place]));
        world.set("v").await.unwrap();
    }
    let world = open(&of(&cluster.places()));
    let before = world.get(AMPLE).await.unwrap();
    assert_eq!(before.value.as_deref(), Some("v"));
    cluster.move_slot(slot, (owner + 1) % 3);
    let after = world.answer("the new owner is asked").await;
    assert_ne!(after.server, before.server);
    assert_eq!(after.value.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_took_over_is_asked() {
    let mut cluster = Cluster::with_replicas();
    let owner = cluster.owner(cluster.slot_of(KEY), 0).unwrap();
    let world = open(&of(&cluster.places()));
    world.set("v").await.unwrap();
    let first = world.up().await;
    cluster.failover(owner);
    // The old master redirects reads, too.
    eventually("the connection to the old master is left", || {
        world.redis.server().is_none_or(|server| server != first).then_some(())
    })
    .await;
    let second = world.answer("the new master is asked").await.server;
    assert_ne!(second, first);
    world.set("w").await.unwrap();
    cluster.nodes[owner + 3].kill();
    let third = world.answer("the next master is asked").await;
    assert_ne!(third.server, second);
}

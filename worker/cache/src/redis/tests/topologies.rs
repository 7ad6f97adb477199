//! The tier over servers that change, and as a user with few rights.

use task_mcp_config::settings::RedisTopology;
use task_mcp_test_servers::{Cluster, RedisServer, Sentinels};

use super::*;

/// Reads and writes go on over a failover: each value that was written and bumped is the one that is read, or nothing
/// is.
/// What fails over is given back by `fail_over`, and lives until the test has ended.
async fn goes_on<T: Send + 'static>(one: &Process, two: &Process, fail_over: impl FnOnce() -> T + Send + 'static) {
    let failing = tokio::task::spawn_blocking(fail_over);
    let (mut number, mut hits_after) = (0_u64, 0);
    let began = Instant::now();
    while hits_after < 20 {
        number += 1;
        one.bump("k").await;
        for process in [one, two] {
            match process.look("k").await {
                Looked::Fresh(found) => {
                    assert_eq!(text_of(&found.value), number.to_string());
                    hits_after += u64::from(failing.is_finished());
                }
                Looked::Nothing(stamps) => {
                    let _ = process.tier.store(&key("k"), entry(stamps, &number.to_string()), None).await;
                }
                Looked::Untrusted => {}
                other @ Looked::Stale(..) => panic!("{other:?}"),
            }
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{number} writes, {hits_after} hits after the failover");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    failing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_sentinels_serves_nothing_old() {
    let sentinels = Sentinels::start();
    let places = sentinels.places();
    let mut settings = redis_settings(&format!("redis://{}", places[0]), Coherence::Strict);
    settings.redis.nodes = places;
    settings.redis.topology = RedisTopology::Sentinel;
    sentinels.name().clone_into(&mut settings.redis.sentinel_master);
    settings.cache.budget_ms = 50;
    let (one, two) = (machine_with(settings.clone()), machine_with(settings));
    one.settled().await;
    two.settled().await;
    goes_on(&one, &two, move || sentinels_fail_over(sentinels)).await;
}

/// Kills the master, so that its last writes may be lost.
fn sentinels_fail_over(mut sentinels: Sentinels) -> Sentinels {
    let master = sentinels.master();
    sentinels.servers[master].kill();
    sentinels.wait_for_other_than(master);
    sentinels
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_one_slot_that_may_move_to_its_replica() {
    let cluster = Cluster::with_replicas();
    let places = cluster.places();
    let mut settings = redis_settings(&format!("redis://{}", places[0]), Coherence::Strict);
    settings.redis.nodes = places;
    settings.redis.topology = RedisTopology::Cluster;
    let (one, two) = (machine_with(settings.clone()), machine_with(settings));
    one.settled().await;
    two.settled().await;
    agree(&[one, two]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_the_documented_rights_is_enough() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cache.md")).unwrap();
    let named = docs.split('`').find(|text| text.starts_with("+evalsha ")).unwrap();
    let rules = format!("~{{task-mcp:* &task-mcp* +ping +info +subscribe +client {named}");
    let server = RedisServer::builder().user("app", "secret", &rules).start();
    let both = machines(&server.url(), Coherence::Tracked, 2).await;
    both[0].put("k", "v").await.unwrap();
    assert_eq!(both[1].text("k").await.as_deref(), Some("v"));
    let Lease::Mine(token) = both[0].tier.lease(&key("k")).await else { panic!("no lease") };
    assert!(both[0].tier.renew(&key("k"), token).await);
    both[0].tier.release(&key("k"), token).await;
    assert!(matches!(both[1].tier.lease(&key("k")).await, Lease::Mine(_)));
    both[0].bump("k").await;
    both[1].vouched().await;
    assert_eq!(both[0].tier.inspect("*", 10).await.unwrap().len(), 1);
    assert_eq!(both[0].tier.invalidate_pattern("*").await.unwrap(), 1);
}

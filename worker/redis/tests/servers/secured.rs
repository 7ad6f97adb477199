//! TLS, users and passwords.

use std::sync::Arc;

use task_mcp_redis::{Heard, RedisError};
use task_mcp_test_servers::{Certificates, RedisServer};

use crate::world::{open, settings, try_open};

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_that_signed_is_trusted_and_no_other() {
    let certificates = Arc::new(Certificates::make());
    let server = RedisServer::builder().tls(&certificates).start();
    let mut right = settings(&server.url());
    right.tls_ca = certificates.ca();
    open(&right).set("v").await.unwrap();

    let mut wrong = right.clone();
    let stranger = Certificates::make();
    wrong.tls_ca = stranger.ca();
    let reason = open(&wrong).down().await;
    assert!(reason.starts_with("no TLS with 127.0.0.1:") && reason.contains("certificate"), "{reason}");

    let mut plain = right.clone();
    plain.url = task_mcp_config::settings::Secret::new(server.url().replace("rediss", "redis"));
    open(&plain).down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_a_certificate_gets_ours() {
    let certificates = Arc::new(Certificates::make());
    let server = RedisServer::builder().tls(&certificates).asks_for_certificate().start();
    let mut without = settings(&server.url());
    without.tls_ca = certificates.ca();
    open(&without).down().await;
    let mut with = without.clone();
    (with.tls_cert, with.tls_key) = (certificates.cert(), certificates.key());
    open(&with).set("v").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_can_never_work_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let refused = |url: &str, change: &dyn Fn(&mut task_mcp_config::settings::Redis)| {
        let mut settings = settings(url);
        change(&mut settings);
        match try_open(&settings) {
            Err(RedisError::Settings { reason }) => reason,
            other => panic!("{url}: {:?}", other.map(|_| ())),
        }
    };
    let reason = refused("rediss://h:1", &|settings| settings.tls_ca = "/nowhere/ca.pem".into());
    assert!(reason.starts_with("redis.tls_ca: /nowhere/ca.pem: "), "{reason}");
    let reason = refused("rediss://h:1", &|settings| settings.tls_ca.clone_from(&empty));
    assert!(reason.ends_with("it holds no certificate"), "{reason}");
    let reason = refused("rediss://u:geheim@h:1/#insecure", &|_| {});
    assert!(reason.contains("redis.tls_ca") && !reason.contains("geheim"), "{reason}");
    let reason = refused("redis://u:geheim@:1:2", &|_| {});
    assert!(!reason.contains("geheim"), "{reason}");
    let cluster = |settings: &mut task_mcp_config::settings::Redis| {
        settings.topology = task_mcp_config::settings::RedisTopology::Cluster;
    };
    assert!(refused("redis://h:1/3", &cluster).contains("database"));
    assert!(refused("unix:///run/redis.sock", &cluster).contains("socket"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_needs_few_rights() {
    // As docs/redis.md says, and the two commands that are asked here.
    for rules in [
        "-@all +ping +info +subscribe ~{test}* &task-mcp* +get +set",
        "~{test}* &task-mcp* +@all -@admin -@dangerous +info",
    ] {
        let server = RedisServer::builder().user("app", "geheim", rules).start();
        let world = open(&settings(&server.url()));
        world.set("v").await.unwrap();
        let mut subscription = world.redis.subscribe(&["task-mcp:one".to_owned()]).await.unwrap();
        assert!(matches!(subscription.next().await, Heard::Joined { .. }), "{rules}");
        let mut subscription = world.redis.subscribe(&["other".to_owned()]).await.unwrap();
        let Heard::Lost { reason } = subscription.next().await else { panic!("joined a channel that is not allowed") };
        assert!(reason.contains("NOPERM"), "{reason}");
    }
    let other = RedisServer::builder().user("app", "geheim", "-@all +ping ~* +get +set").start();
    let reason = open(&settings(&other.url())).down().await;
    assert!(reason.contains("NOPERM") && reason.contains("info"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_without_naming_it() {
    let server = RedisServer::builder().password("richtig").start();
    open(&settings(&server.url())).set("v").await.unwrap();
    let world = open(&settings(&server.url().replace("richtig", "geheim")));
    let reason = world.down().await;
    assert!(reason.contains("password") && !reason.contains("geheim"), "{reason}");
    let error = world.get(crate::world::SHORT).await.unwrap_err();
    let told = format!("{error:?} {error} {:?} {:?}", world.redis, world.redis.status());
    assert!(!told.contains("geheim"), "{told}");
    let none = open(&settings(&format!("redis://{}", server.place()))).down().await;
    assert!(none.contains("NOAUTH"), "{none}");
}

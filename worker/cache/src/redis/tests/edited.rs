//! Keys of the cache that somebody else has written to: what lies there is taken for missing and replaced, and nothing else
//! suffers.

use task_mcp_telemetry::names;
use task_mcp_test_servers::{Log, RedisServer};

use super::keys::INCARNATION;
use super::*;
use crate::testing::{counted, faults};

fn connects(process: &Process) -> u64 {
    counted(&process.scoreboard, names::REDIS_CONNECTS, &[("for", "cache")])
}

fn set(place: &str, bytes: &[u8]) -> Cmd {
    let mut command = cmd("SET");
    command.arg(place).arg(bytes);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_or_a_fence_that_makes_no_sense_is_replaced() {
    let server = RedisServer::start();
    let one = machine(&server.url(), Coherence::Strict);
    one.settled().await;
    let stamps = one.stamps("k").await;
    let before = connects(&one);
    let (lease, fence) = (one.tier.keys.lease(&key("k")), one.tier.keys.fence.clone());
    let mut list = [cmd("RPUSH"), cmd("RPUSH")];
    list[0].arg(&lease).arg("x");
    list[1].arg(&fence).arg("x");
    let leases: [&[u8]; 6] = [b"hello", b"", b"-1", b"\xff", b"99999999999999999999999", b"1"];
    let fences: [&[u8]; 8] =
        [b"1e300", b"nan", b"inf", b"-inf", b"hello", b"\xff", b"9007199254740991", b"9007199254740992"];
    let commands = leases.iter().map(|bytes| set(&lease, bytes)).chain(fences.iter().map(|bytes| set(&fence, bytes)));
    for command in commands.chain(list) {
        let edit = String::from_utf8_lossy(&command.get_packed_command()).into_owned();
        server.tell::<()>(&["DEL", &lease, &fence]);
        server.query::<()>(&command);
        let Lease::Mine(token) = one.tier.lease(&key("k")).await else { panic!("not to be had after {edit}") };
        match one.tier.lease(&key("k")).await {
            Lease::Held { holder, .. } => assert_eq!(holder, token, "{edit}"),
            other => panic!("{other:?} after {edit}"),
        }
        assert!(one.tier.renew(&key("k"), token).await, "{edit}");
        one.tier.store(&key("k"), entry(stamps.clone(), "v"), Some(token)).await.unwrap();
        one.tier.release(&key("k"), token).await;
        assert!(matches!(one.tier.lease(&key("k")).await, Lease::Mine(_)), "{edit}");
    }
    assert_eq!(connects(&one), before, "the connection is as good as before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_another_kind_is_a_miss_and_replaced() {
    let server = RedisServer::start();
    let one = machine(&server.url(), Coherence::Strict);
    one.settled().await;
    server.tell::<()>(&["RPUSH", &one.tier.keys.entry(&key("k")), "x"]);
    let Looked::Nothing(stamps) = one.look("k").await else { panic!("not taken for missing") };
    assert_eq!(faults(&one.scoreboard, "corrupt"), 1);
    one.tier.store(&key("k"), entry(stamps, "v"), None).await.unwrap();
    assert_eq!(one.sibling_text("k").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_is_no_number_ends_the_incarnation() {
    let server = RedisServer::start();
    let one = machine(&server.url(), Coherence::Strict);
    one.settled().await;
    let before = connects(&one);
    let cell = Tag::new("k").cell().to_string();
    for bytes in [&b"abc"[..], b"", b"-7", b"\xff", b"99999999999999999999"] {
        one.put("k", "old").await.unwrap();
        server.query::<()>(cmd("HSET").arg(&one.tier.keys.epochs).arg(&cell).arg(bytes));
        eventually("the epochs are in order again", async || {
            matches!(one.look("k").await, Looked::Nothing(_)).then_some(())
        })
        .await;
    }
    for bytes in [&b"nonsense"[..], b"0", b"\xff"] {
        one.put("k", "old").await.unwrap();
        server.query::<()>(cmd("HSET").arg(&one.tier.keys.epochs).arg(INCARNATION).arg(bytes));
        eventually("the epochs are in order again", async || {
            matches!(one.look("k").await, Looked::Nothing(_)).then_some(())
        })
        .await;
    }
    server.query::<()>(cmd("HSET").arg(&one.tier.keys.epochs).arg(&b"\xff"[..]).arg("1"));
    one.put("k", "v").await.unwrap();
    assert_eq!(one.text("k").await.as_deref(), Some("v"), "a field that is nobody's changes nothing");
    assert_eq!(connects(&one), before, "the connection is as good as before");
}

// One thread: the subscriber is that of the test's thread, and everything runs on it.
#[tokio::test]
async fn epochs_that_go_back_again_and_again_are_told_once_a_minute() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(log.clone()).finish());
    let server = RedisServer::start();
    let one = machine(&server.url(), Coherence::Strict);
    one.settled().await;
    for _ in 0..5 {
        one.put("k", "v").await.unwrap();
        one.bump("k").await;
        one.settled().await;
        server.tell::<()>(&["HDEL", &one.tier.keys.epochs, &Tag::new("k").cell().to_string()]);
        eventually("it was noticed", async || matches!(one.look("k").await, Looked::Untrusted).then_some(())).await;
        one.settled().await;
    }
    assert_eq!(log.lines("went back"), 1);
}

//! Whatever becomes of the server, nothing older than a bump that has ended is answered.

use task_mcp_test_servers::RedisServer;

use super::*;
use crate::redis::tests::proxy::Proxy;

const KINDS: [Coherence; 2] = [Coherence::Strict, Coherence::Tracked];

/// Looks until Redis is trusted again, and again for a while; `old` must never be answered.
async fn never_again(process: &Process, name: &str, old: &str) {
    let began = Instant::now();
    let mut trusted = 0;
    while trusted < 100 {
        match process.look(name).await {
            Looked::Fresh(found) | Looked::Stale(found, _) => assert_ne!(text_of(&found.value), old),
            Looked::Nothing(_) => trusted += 1,
            Looked::Untrusted => {}
        }
        assert!(began.elapsed() < Duration::from_secs(20), "Redis is not trusted again: {:?}", process.tier.health());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Stores `old` at both processes of a machine, so that Redis and both memories hold it.
async fn old_everywhere(one: &Process, two: &Process, name: &str) {
    eventually("an entry is found by all", async || {
        one.put(name, "old").await.ok()?;
        Some(())
    })
    .await;
    assert_eq!(two.text(name).await.as_deref(), Some("old"));
    assert_eq!(one.text(name).await.as_deref(), Some("old"));
}

/// Two processes of a machine, both of which hold the entry `old` under `k`.
async fn two_with_an_old_entry(url: &str, coherence: Coherence) -> (Machinery, Process) {
    let one = machine(url, coherence);
    let two = one.sibling();
    one.settled().await;
    old_everywhere(&one, &two, "k").await;
    (one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_server_revives_nothing() {
    for coherence in KINDS {
        let server = RedisServer::start();
        let (one, two) = two_with_an_old_entry(&server.url(), coherence).await;
        // The epoch is back at that of the entry in memory after this.
        one.bump("k").await;
        server.flush();
        never_again(&two, "k", "old").await;
        one.put("k", "new").await.unwrap();
        assert_eq!(two.text("k").await.as_deref(), Some("new"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_restarted_empty_revives_nothing() {
    for coherence in KINDS {
        let mut server = RedisServer::start();
        let (one, two) = two_with_an_old_entry(&server.url(), coherence).await;
        one.bump("k").await;
        server.restart();
        never_again(&two, "k", "old").await;
        never_again(&one, "k", "old").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_restarted_without_its_last_writes_revives_nothing() {
    for coherence in KINDS {
        let mut server = RedisServer::builder().append_only().start();
        let (one, two) = two_with_an_old_entry(&server.url(), coherence).await;
        // What follows is not in the file any more.
        server.tell::<()>(&["CONFIG", "SET", "appendonly", "no"]);
        one.bump("k").await;
        server.restart();
        let entry: Vec<u8> = server.tell(&["GET", &one.tier.keys.entry(&key("k"))]);
        let epoch: Option<u64> = server.tell(&["HGET", &one.tier.keys.epochs, &Tag::new("k").cell().to_string()]);
        assert!(!entry.is_empty() && epoch.is_none(), "the entry is back and the bump is not");
        never_again(&two, "k", "old").await;
        never_again(&one, "k", "old").await;
    }
}

/// A master and a replica that has everything but the last bump.
async fn behind(coherence: Coherence) -> (RedisServer, RedisServer, Proxy, Machinery, Process) {
    let master = RedisServer::start();
    let replica = RedisServer::builder().replica_of(&master).start();
    replica.wait_for_master();
    let proxy = Proxy::to(master.port()).await;
    let (one, two) = two_with_an_old_entry(&proxy.url(), coherence).await;
    let replicas: u64 = master.tell(&["WAIT", "1", "5000"]);
    assert_eq!(replicas, 1);
    replica.tell::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    one.bump("k").await;
    assert!(one.tier.machine.all_untold().is_empty(), "the master took the bump");
    (master, replica, proxy, one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_writes_revives_nothing() {
    for coherence in KINDS {
        let (mut master, replica, proxy, one, two) = behind(coherence).await;
        master.kill();
        replica.tell::<()>(&["REPLICAOF", "NO", "ONE"]);
        proxy.lead_to(replica.port());
        never_again(&two, "k", "old").await;
        never_again(&one, "k", "old").await;
        // A machine that knew nothing of the server before.
        let other = machine(&replica.url(), coherence);
        never_again(&other, "k", "old").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_there_and_back_revives_nothing() {
    let (master, replica, proxy, one, two) = behind(Coherence::Strict).await;
    replica.tell::<()>(&["REPLICAOF", "NO", "ONE"]);
    proxy.lead_to(replica.port());
    one.settled().await;
    // The first master comes back as the run of the server it was, with the data of the second, which never knew of the
    // bump.
    master.follow(&replica);
    master.tell::<()>(&["REPLICAOF", "NO", "ONE"]);
    proxy.lead_to(master.port());
    never_again(&two, "k", "old").await;
    never_again(&one, "k", "old").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_would_refuse_a_bump_is_not_read() {
    let server = RedisServer::start();
    let one = machine(&server.url(), Coherence::Strict);
    one.settled().await;
    one.put("k", "old").await.unwrap();
    // It lost its replicas, and may have been replaced meanwhile.
    server.tell::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert!(matches!(one.look("k").await, Looked::Untrusted));
    server.tell::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    eventually("it is read again", async || one.text("k").await).await;
    // It was made a replica, and keeps its data until it finds its master.
    server.tell::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    assert!(matches!(one.look("k").await, Looked::Untrusted));
    server.tell::<()>(&["REPLICAOF", "NO", "ONE"]);
    eventually("it is read again", async || one.text("k").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evicted_set_of_epochs_revives_nothing() {
    for coherence in KINDS {
        let server = RedisServer::builder().max_memory(0, "allkeys-lru").start();
        let (one, two) = two_with_an_old_entry(&server.url(), coherence).await;
        one.bump("k").await;
        server.tell::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        eventually("everything is evicted", async || {
            // The housekeeper's new epochs are evicted as soon as they are there.
            let keys: u64 = server.tell(&["DBSIZE"]);
            let _ = server.tell::<Option<String>>(&["GET", "nothing"]);
            (keys == 0).then_some(())
        })
        .await;
        server.tell::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        never_again(&two, "k", "old").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_that_go_back_end_the_incarnation() {
    for coherence in KINDS {
        let server = RedisServer::start();
        let (one, two) = two_with_an_old_entry(&server.url(), coherence).await;
        one.bump("k").await;
        server.tell::<()>(&["HDEL", &one.tier.keys.epochs, &Tag::new("k").cell().to_string()]);
        never_again(&two, "k", "old").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bump_that_could_not_be_sent_counts_here_at_once_and_elsewhere_when_it_can() {
    for coherence in KINDS {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.port()).await;
        let mut settings = redis_settings(&proxy.url(), coherence);
        settings.cache.budget_ms = 50;
        let here = machine_with(settings);
        let there = machine(&server.url(), coherence);
        // A machine that does not know of the other yet waits for nobody: docs/cache.md, "What is not promised".
        eventually("both machines have adopted one incarnation and know each other", async || {
            let (here, there) = (&here.tier.machine, &there.tier.machine);
            let know = [here, there].iter().all(|machine| machine.remote.membership().others == 1);
            (here.adopted() != 0 && here.adopted() == there.adopted() && know).then_some(())
        })
        .await;
        old_everywhere(&here, &there, "k").await;
        proxy.cut();
        let began = Instant::now();
        here.bump("k").await;
        assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
        assert!(matches!(here.look("k").await, Looked::Untrusted));
        if coherence == Coherence::Strict {
            assert_ne!(there.text("k").await.as_deref(), Some("old"));
        }
        proxy.lead_to(server.port());
        never_again(&here, "k", "old").await;
        eventually("the other machine knows", async || there.text("k").await.is_none().then_some(())).await;
        never_again(&there, "k", "old").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bump_is_told_also_if_its_process_died_before_it_could() {
    let server = RedisServer::start();
    let both = machines(&server.url(), Coherence::Strict, 2).await;
    old_everywhere(&both[0], &both[1], "k").await;
    // All that a process which is killed then leaves behind; and all that a watcher of files has to do.
    both[0].commons.epochs().bump("k");
    assert!(matches!(both[0].look("k").await, Looked::Untrusted));
    eventually("the other machine knows", async || both[1].text("k").await.is_none().then_some(())).await;
    both[0].settled().await;
    never_again(&both[0], "k", "old").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_arrives_trusts_nothing_from_before() {
    let server = RedisServer::start();
    let first = machine(&server.url(), Coherence::Strict);
    first.settled().await;
    first.put("k", "old").await.unwrap();
    let second = machine(&server.url(), Coherence::Strict);
    never_again(&second, "k", "old").await;
    never_again(&first, "k", "old").await;
    // Another process of a machine, or its next housekeeper, is no arrival.
    agree(&[first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_housekeeper_and_a_new_process_keep_what_is_there() {
    let server = RedisServer::start();
    let Machinery { process, _house: house } = machine(&server.url(), Coherence::Tracked);
    process.settled().await;
    process.put("k", "v").await.unwrap();
    drop(house);
    let next = process.sibling();
    let _house = next.keep_house();
    next.vouched().await;
    assert_eq!(next.text("k").await.as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_answers_without_a_question_only_while_the_housekeeper_hears_the_server() {
    let server = RedisServer::start();
    let mut settings = redis_settings(&server.url(), Coherence::Tracked);
    settings.cache.budget_ms = 50;
    let one = machine_with(settings);
    one.settled().await;
    one.put("k", "v").await.unwrap();
    one.vouched().await;
    server.stop();
    assert_eq!(one.text("k").await.as_deref(), Some("v"), "no question was asked");
    let began = Instant::now();
    eventually("trust ends", async || one.text("k").await.is_none().then_some(())).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    server.cont();
    eventually("it is trusted again", async || one.text("k").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_packets_vanish_nobody_answers_what_was_bumped_a_second_ago() {
    for coherence in KINDS {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.port()).await;
        let mut settings = redis_settings(&proxy.url(), coherence);
        settings.cache.budget_ms = 50;
        let (here, there) = (machine(&server.url(), coherence), machine_with(settings));
        eventually("both machines have adopted one incarnation", async || {
            let adopted = here.tier.machine.adopted();
            (adopted != 0 && adopted == there.tier.machine.adopted()).then_some(())
        })
        .await;
        old_everywhere(&here, &there, "k").await;
        there.vouched().await;
        proxy.swallow();
        here.bump("k").await;
        let last_old = last_old_read(&there, "k", Instant::now()).await;
        println!("{coherence:?}: the last read that answered the old entry began {last_old:?} after the bump");
        match coherence {
            Coherence::Strict => assert_eq!(last_old, None),
            Coherence::Tracked => {
                let last_old = last_old.expect("it is answered from memory while that is vouched for");
                assert!(last_old <= Duration::from_millis(1_001), "{last_old:?}");
            }
        }
        proxy.lead_to(server.port());
        never_again(&there, "k", "old").await;
    }
}

/// When, after a bump, the last read began that answered the old entry; looks for two seconds.
async fn last_old_read(process: &Process, name: &str, bumped: Instant) -> Option<Duration> {
    let mut last_old = None;
    while bumped.elapsed() < Duration::from_secs(2) {
        let asked = bumped.elapsed();
        if process.text(name).await.as_deref() == Some("old") {
            last_old = Some(asked);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    last_old
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_housekeeper_memory_answers_for_a_second_at_most_and_then_nobody_trusts() {
    let server = RedisServer::start();
    let here = machine(&server.url(), Coherence::Tracked);
    let there = machine(&server.url(), Coherence::Tracked);
    eventually("both machines have adopted one incarnation", async || {
        let adopted = here.tier.machine.adopted();
        (adopted != 0 && adopted == there.tier.machine.adopted()).then_some(())
    })
    .await;
    old_everywhere(&here, &there, "k").await;
    there.vouched().await;
    let Machinery { process: there, _house: house } = there;
    drop(house);
    here.bump("k").await;
    let last_old = last_old_read(&there, "k", Instant::now()).await.expect("memory answers for a while");
    println!("the last read that answered the old entry began {last_old:?} after the bump");
    assert!(last_old <= Duration::from_millis(1_001), "{last_old:?}");
    for machine in [&there, &here.process] {
        assert!(matches!(machine.look("k").await, Looked::Untrusted), "it is no member any more");
    }
    // Another housekeeper is the same member.
    let _house = there.keep_house();
    here.put("k", "new").await.unwrap();
    eventually("it is trusted again", async || there.text("k").await).await;
}

//! A machine whose bumps do not arrive: another that still reads Redis answers nothing older than a write that has ended.

use std::sync::atomic::AtomicU64;

use task_mcp_scoreboard::monotonic_ms;
use task_mcp_test_servers::RedisServer;

use super::*;
use crate::redis::members::{LEASE_MS, MEMBERS, is_member, server_ms};
use crate::redis::tests::proxy::Proxy;

const BUDGET_MS: u64 = 50;

/// A machine that keeps house in one process and does its work in another, and one beside it at the same server.
struct Two {
    server: RedisServer,
    proxy: Proxy,
    /// Reaches the server through the proxy.
    here: Arc<Process>,
    there: Arc<Process>,
    _houses: [Machinery; 2],
}

impl Two {
    async fn start() -> Self {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.port()).await;
        let house = |url: String| {
            let mut settings = redis_settings(&url, Coherence::Strict);
            settings.cache.budget_ms = BUDGET_MS;
            machine_with(settings)
        };
        let houses = [house(proxy.url()), house(server.url())];
        let [here, there] = houses.each_ref().map(|house| Arc::new(house.sibling()));
        eventually("both know of each other and of one incarnation", async || {
            let both = [&here, &there];
            let know = both.iter().all(|one| one.commons.remote().membership().others == 1);
            let [one, two] = both.map(|one| one.tier.machine.adopted());
            let trusted = !matches!(there.look("settled").await, Looked::Untrusted);
            (know && one == two && one != 0 && trusted).then_some(())
        })
        .await;
        Self { server, proxy, here, there, _houses: houses }
    }

    fn id(&self) -> u64 {
        self.here.commons.remote().member_id(1)
    }

    /// Whether the machine behind the proxy is a member, as far as the server says.
    fn is_listed(&self) -> bool {
        let script = "return {redis.call('TIME'), redis.call('HGET', KEYS[1], ARGV[1])}";
        let epochs = &self.there.tier.keys.epochs;
        let (time, list): ((u64, u64), Option<String>) = self.server.tell(&["EVAL", script, "1", epochs, MEMBERS]);
        list.is_some_and(|list| is_member(&list, self.id(), server_ms(time)))
    }
}

/// What a read of one machine came to that began after a write on the other had ended.
#[derive(Debug, Default)]
struct Seen {
    pairs: AtomicU64,
    hits: AtomicU64,
    stale: AtomicU64,
}

impl Seen {
    /// Writes here and reads there, over keys of its own, until `over`.
    async fn pairs(&self, two: &(Arc<Process>, Arc<Process>), task: usize, over: impl Fn(u64) -> bool) {
        let (here, there) = two;
        let name = format!("k{task}");
        let mut number = 0;
        while !over(number) {
            // It may be stored more than once: the first may be late, or not trusted.
            for _ in 0..4 {
                match there.look(&name).await {
                    Looked::Fresh(found) => {
                        self.hits.fetch_add(1, Ordering::Relaxed);
                        let stale = text_of(&found.value) != number.to_string();
                        self.stale.fetch_add(u64::from(stale), Ordering::Relaxed);
                    }
                    Looked::Nothing(stamps) => {
                        let _ = there.tier.store(&key(&name), entry(stamps, &number.to_string()), None).await;
                    }
                    _ => {}
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            number += 1;
            here.bump(&name).await;
            self.pairs.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn judge(&self, pairs: u64, hits: u64) {
        println!("{self:?}");
        assert_eq!(self.stale.load(Ordering::Relaxed), 0, "reads that were older than a write that had ended");
        assert!(self.pairs.load(Ordering::Relaxed) >= pairs && self.hits.load(Ordering::Relaxed) >= hits);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_only_slow_for_the_writer_serves_nothing_old() {
    let two = Two::start().await;
    two.proxy.delay(Duration::from_millis(300));
    let (seen, both) = (Arc::new(Seen::default()), (Arc::clone(&two.here), Arc::clone(&two.there)));
    let tasks: Vec<_> = (0..50)
        .map(|task| {
            let (seen, both) = (Arc::clone(&seen), both.clone());
            tokio::spawn(async move { seen.pairs(&both, task, |number| number == 10).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    seen.judge(500, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_and_goes_on_serves_nothing_old() {
    let two = Two::start().await;
    let (seen, both) = (Arc::new(Seen::default()), (Arc::clone(&two.here), Arc::clone(&two.there)));
    let over = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (seen, both, over) = (Arc::clone(&seen), both.clone(), Arc::clone(&over));
            // Every other one writes there and reads here.
            let both = if task % 2 == 0 { both } else { (both.1, both.0) };
            tokio::spawn(async move { seen.pairs(&both, task, |_| over.load(Ordering::Relaxed)).await })
        })
        .collect();
    for stopped_ms in [60, 300, 900, 1_100, 2_500, 150] {
        tokio::time::sleep(Duration::from_millis(200)).await;
        two.server.stop();
        tokio::time::sleep(Duration::from_millis(stopped_ms)).await;
        two.server.cont();
        let hits = seen.hits.load(Ordering::Relaxed);
        eventually("entries are answered again", async || {
            (seen.hits.load(Ordering::Relaxed) > hits + 20).then_some(())
        })
        .await;
    }
    over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    seen.judge(100, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_of_a_machine_that_is_cut_off_waits_until_nobody_trusts_what_was_there() {
    let two = Two::start().await;
    let (here, there) = (&two.here, &two.there);
    there.put("k", "old").await.unwrap();
    two.proxy.cut();
    let began = Instant::now();
    here.bump("k").await;
    let took = began.elapsed();
    assert!(took <= Duration::from_millis(LEASE_MS + BUDGET_MS + 200), "{took:?}");
    assert!(matches!(there.look("k").await, Looked::Untrusted), "it has lapsed");
    // Those that follow have nobody to wait for.
    let began = Instant::now();
    here.bump("k").await;
    assert!(began.elapsed() < Duration::from_millis(BUDGET_MS + 200), "{:?}", began.elapsed());
    let adopted = there.tier.machine.adopted();
    eventually("it is given up", async || match there.look("k").await {
        Looked::Nothing(stamps) => Some(stamps),
        Looked::Untrusted => None,
        other => panic!("{other:?}"),
    })
    .await;
    assert_ne!(there.tier.machine.adopted(), adopted);
    there.put("k", "new").await.unwrap();
    // It comes back, and tells: what was computed while it was not heard does not count.
    two.proxy.lead_to(two.server.port());
    eventually("the other machine knows", async || there.text("k").await.is_none().then_some(())).await;
    eventually("it is a member again", async || two.is_listed().then_some(())).await;
    eventually("it reads again", async || matches!(here.look("k").await, Looked::Nothing(_)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_comes_back_in_time_has_told_what_it_could_not() {
    let two = Two::start().await;
    let (here, there) = (&two.here, &two.there);
    there.put("k", "old").await.unwrap();
    there.put("l", "kept").await.unwrap();
    let adopted = there.tier.machine.adopted();
    two.proxy.cut();
    here.bump("k").await;
    two.proxy.lead_to(two.server.port());
    eventually("it is trusted again", async || there.text("l").await).await;
    assert!(matches!(there.look("k").await, Looked::Nothing(_)));
    assert_eq!(there.tier.machine.adopted(), adopted, "nothing was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_arrives_late_prolongs_nothing() {
    let two = Two::start().await;
    let remote = two.here.commons.remote();
    two.proxy.delay(Duration::from_secs(3));
    eventually("it has lapsed", async || (monotonic_ms() >= remote.membership().until_ms).then_some(())).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let until_ms = remote.membership().until_ms;
        let listed = two.is_listed();
        // Asked for once more it would be a member rightly.
        assert!(!listed || monotonic_ms() < remote.membership().until_ms.max(until_ms) + 5, "it is a member again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    two.proxy.delay(Duration::ZERO);
    eventually("it is a member again", async || two.is_listed().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_alone_waits_for_nobody() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let mut settings = redis_settings(&proxy.url(), Coherence::Strict);
    settings.cache.budget_ms = BUDGET_MS;
    let one = machine_with(settings);
    one.settled().await;
    eventually("it is a member", async || (one.commons.remote().membership().until_ms > 0).then_some(())).await;
    proxy.swallow();
    for _ in 0..5 {
        let began = Instant::now();
        one.bump("k").await;
        assert!(began.elapsed() < Duration::from_millis(BUDGET_MS + 200), "{:?}", began.elapsed());
    }
}

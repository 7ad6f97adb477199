//! Who computes, who waits, and what everybody is told: over a tier in memory, in time that does not pass by itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use task_mcp_config::Settings;
use task_mcp_scoreboard::{Commons, Scoreboard};
use task_mcp_telemetry::{CacheFault, CacheOutcome, names};
use tokio::time::Instant;

use super::{Computed, Engine, Fetched, Terms, Wanted};
use crate::testing::{counted, eventually, faults, metrics, settings, value};
use crate::tier::{Entry, Found, Lease, Looked, Stamps, Tier, Token};
use crate::{Key, Tag, Value};

/// A tier in the memory of the test. Clones are processes that share it; each has its own way to the leases, which may be long.
#[derive(Debug, Clone, Default)]
struct Memory(Arc<State>, Duration);

#[derive(Debug, Default)]
struct State {
    entries: Mutex<HashMap<Key, (Entry, Instant)>>,
    leases: Mutex<HashMap<Key, (Token, Instant)>>,
    last_token: AtomicU64,
    epoch: AtomicU64,
    untrusted: AtomicBool,
    others: AtomicBool,
    /// Renewals do not arrive, as those of a process that was stopped.
    deaf: AtomicBool,
    stored: AtomicUsize,
    /// Leases that were asked for.
    asked: AtomicUsize,
}

const LEASE: Duration = Duration::from_millis(100);

impl Memory {
    fn stamps(&self) -> Stamps {
        Stamps { incarnation: 1, epochs: vec![(0, self.0.epoch.load(Ordering::SeqCst))] }
    }

    fn holder(&self, key: &Key) -> Option<(Token, Duration)> {
        let (token, end) = *self.0.leases.lock().unwrap().get(key)?;
        let left = end.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then_some((token, left))
    }
}

impl Tier for Memory {
    async fn look(&self, key: &Key, _tags: &[Tag]) -> Looked {
        if self.0.untrusted.load(Ordering::SeqCst) {
            return Looked::Untrusted;
        }
        let stamps = self.stamps();
        let entries = self.0.entries.lock().unwrap();
        let Some((entry, at)) = entries.get(key).filter(|(entry, _)| entry.stamps == stamps) else {
            return Looked::Nothing(stamps);
        };
        let age = at.elapsed();
        let found = Found { value: entry.value.clone(), age };
        match age {
            age if age < entry.fresh => Looked::Fresh(found),
            age if age < entry.fresh + entry.stale => Looked::Stale(found, stamps),
            _ => Looked::Nothing(stamps),
        }
    }

    async fn lease(&self, key: &Key) -> Lease {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.1).await;
        if let Some((holder, left)) = self.holder(key) {
            return Lease::Held { left, holder };
        }
        let token = Token(self.0.last_token.fetch_add(1, Ordering::SeqCst) + 1);
        self.0.leases.lock().unwrap().insert(*key, (token, Instant::now() + LEASE));
        Lease::Mine(token)
    }

    async fn renew(&self, key: &Key, token: Token) -> bool {
        if self.0.deaf.load(Ordering::SeqCst) {
            return true;
        }
        let mine = self.holder(key).is_some_and(|(holder, _)| holder == token);
        if mine {
            self.0.leases.lock().unwrap().insert(*key, (token, Instant::now() + LEASE));
        }
        mine
    }

    async fn release(&self, key: &Key, token: Token) {
        let mut leases = self.0.leases.lock().unwrap();
        if leases.get(key).is_some_and(|(holder, _)| *holder == token) {
            leases.remove(key);
        }
    }

    async fn store(&self, key: &Key, entry: Entry, token: Option<Token>) -> Result<(), CacheFault> {
        if entry.stamps != self.stamps() {
            return Err(CacheFault::Late);
        }
        let holder = self.0.leases.lock().unwrap().get(key).map(|(holder, _)| *holder);
        if token.is_some() && token != holder {
            return Err(CacheFault::Fenced);
        }
        self.0.stored.fetch_add(1, Ordering::SeqCst);
        self.0.entries.lock().unwrap().insert(*key, (entry, Instant::now()));
        Ok(())
    }

    async fn bump(&self, _tags: &[Tag]) {
        self.0.epoch.fetch_add(1, Ordering::SeqCst);
    }

    fn others_may_write(&self) -> bool {
        self.0.others.load(Ordering::SeqCst)
    }
}

/// Two processes over one tier.
struct Fixture {
    tier: Memory,
    one: Arc<Engine<Memory>>,
    two: Arc<Engine<Memory>>,
    scoreboard: Scoreboard,
    runs: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
}

fn fixture() -> Fixture {
    fixture_with(|_| {})
}

fn fixture_with(change: impl FnOnce(&mut Settings)) -> Fixture {
    let (metrics, scoreboard) = metrics();
    let (tier, commons) = (Memory::default(), Commons::create().unwrap());
    let mut settings = settings("/nowhere".as_ref());
    change(&mut settings);
    let engine = || Arc::new(Engine::new(tier.clone(), Terms::new(&settings.cache), &commons, metrics.cache.clone()));
    let (one, two) = (engine(), engine());
    Fixture { tier, one, two, scoreboard, runs: Arc::default(), running: Arc::default() }
}

/// Counts a computation for as long as it is one.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

const WORK: Duration = Duration::from_millis(500);

impl Fixture {
    fn fetch_with(
        &self,
        engine: &Arc<Engine<Memory>>,
        computed: Computed,
    ) -> impl Future<Output = Option<Fetched>> + Send + use<> {
        let (engine, runs, running) = (Arc::clone(engine), Arc::clone(&self.runs), Arc::clone(&self.running));
        async move {
            let wanted = Wanted { key: key(), tool: 0, name: "t {}", tags: &[], ttl: None, stale: true };
            let compute = move || async move {
                runs.fetch_add(1, Ordering::SeqCst);
                running.fetch_add(1, Ordering::SeqCst);
                let _running = Running(running);
                tokio::time::sleep(WORK).await;
                computed
            };
            engine.fetch(wanted, compute).await
        }
    }

    fn fetch(&self, engine: &Arc<Engine<Memory>>, text: &str) -> impl Future<Output = Option<Fetched>> + Send + use<> {
        self.fetch_with(engine, Computed::Keep(value(text)))
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    fn answers(&self, outcome: &str) -> u64 {
        counted(&self.scoreboard, names::CACHE_CALLS, &[("tool", "t"), ("outcome", outcome)])
    }

    /// Everything that is on its way comes to its end.
    async fn settle(&self) {
        eventually("nothing runs and leases are given back", async || {
            let flights = self.one.flights.len() + self.two.flights.len();
            let leased = self.tier.holder(&key()).is_some();
            (flights == 0 && self.running.load(Ordering::SeqCst) == 0 && !leased).then_some(())
        })
        .await;
    }
}

fn key() -> Key {
    Key::of(&[b"k"])
}

fn text(fetched: &Option<Fetched>) -> (Value, CacheOutcome) {
    let fetched = fetched.as_ref().unwrap();
    (fetched.value.clone(), fetched.outcome)
}

#[tokio::test(start_paused = true)]
async fn many_callers_of_two_processes_are_answered_by_one_computation() {
    let fixture = fixture();
    let calls: Vec<_> = (0..64)
        .map(|call| tokio::spawn(fixture.fetch(if call % 2 == 0 { &fixture.one } else { &fixture.two }, "v")))
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().value, value("v"));
    }
    assert_eq!(fixture.runs(), 1);
    assert_eq!((fixture.answers("miss"), fixture.answers("coalesced")), (1, 63));
    let hit = fixture.fetch(&fixture.two, "w").await;
    assert_eq!(text(&hit), (value("v"), CacheOutcome::Hit));
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_past_its_time_is_answered_at_once_and_computed_anew_once() {
    let fixture = fixture();
    fixture.fetch(&fixture.one, "old").await.unwrap();
    tokio::time::sleep(Duration::from_secs(301)).await;
    for engine in [&fixture.one, &fixture.two, &fixture.one, &fixture.two] {
        let began = Instant::now();
        assert_eq!(text(&fixture.fetch(engine, "new").await), (value("old"), CacheOutcome::Stale));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
    tokio::time::sleep(WORK * 2).await;
    assert_eq!(text(&fixture.fetch(&fixture.two, "newer").await), (value("new"), CacheOutcome::Hit));
    assert_eq!(fixture.runs(), 2);
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn while_another_computes_anew_its_lease_is_not_asked_for_by_every_call() {
    let fixture = fixture();
    fixture.fetch(&fixture.one, "old").await.unwrap();
    tokio::time::sleep(Duration::from_secs(301)).await;
    // Another process has just begun, and does not live to renew it.
    assert!(matches!(fixture.tier.lease(&key()).await, Lease::Mine(_)));
    let before = fixture.tier.0.asked.load(Ordering::SeqCst);
    for _ in 0..LEASE.as_millis() - 1 {
        assert_eq!(text(&fixture.fetch(&fixture.two, "new").await), (value("old"), CacheOutcome::Stale));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(fixture.tier.0.asked.load(Ordering::SeqCst), before + 1);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(text(&fixture.fetch(&fixture.two, "new").await), (value("old"), CacheOutcome::Stale));
    tokio::time::sleep(WORK * 2).await;
    assert_eq!(text(&fixture.fetch(&fixture.two, "newer").await), (value("new"), CacheOutcome::Hit));
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_computation_ends_when_the_last_caller_leaves_and_not_before() {
    let fixture = fixture();
    let one = tokio::spawn(fixture.fetch(&fixture.one, "v"));
    let two = tokio::spawn(fixture.fetch(&fixture.one, "v"));
    tokio::time::sleep(WORK / 4).await;
    one.abort();
    tokio::time::sleep(WORK / 4).await;
    assert_eq!(fixture.running.load(Ordering::SeqCst), 1, "one still waits");
    two.abort();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(fixture.running.load(Ordering::SeqCst), 0);
    assert_eq!(fixture.tier.holder(&key()), None);
    assert_eq!(text(&fixture.fetch(&fixture.two, "w").await), (value("w"), CacheOutcome::Miss));
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn who_joins_after_the_first_has_left_gets_the_result() {
    let fixture = fixture();
    let first = tokio::spawn(fixture.fetch(&fixture.one, "v"));
    tokio::time::sleep(WORK / 4).await;
    let second = tokio::spawn(fixture.fetch(&fixture.one, "w"));
    tokio::time::sleep(WORK / 4).await;
    first.abort();
    assert_eq!(text(&second.await.unwrap()), (value("v"), CacheOutcome::Coalesced));
    assert_eq!(fixture.runs(), 1);
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_panic_one_of_those_who_wait_computes() {
    let fixture = fixture();
    let engine = Arc::clone(&fixture.one);
    let panicking = tokio::spawn(async move {
        let wanted = Wanted { key: key(), tool: 0, name: "t {}", tags: &[], ttl: None, stale: true };
        let compute = || async {
            tokio::time::sleep(WORK).await;
            panic!("as it is to")
        };
        engine.fetch(wanted, compute).await
    });
    tokio::task::yield_now().await;
    let waiting: Vec<_> =
        (0..8).map(|call| tokio::spawn(fixture.fetch([&fixture.one, &fixture.two][call % 2], "v"))).collect();
    assert!(panicking.await.unwrap().is_none());
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap().value, value("v"));
    }
    assert_eq!(fixture.runs(), 1);
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_for_one_is_told_to_one_and_the_others_compute_one_after_the_other() {
    let fixture = fixture();
    let calls: Vec<_> = (0..4)
        .map(|call| tokio::spawn(fixture.fetch_with(&fixture.one, Computed::TellOne(value(&call.to_string())))))
        .collect();
    for (call, told) in calls.into_iter().enumerate() {
        assert_eq!(text(&told.await.unwrap()), (value(&call.to_string()), CacheOutcome::Miss));
        assert!(fixture.running.load(Ordering::SeqCst) <= 1);
    }
    assert_eq!((fixture.runs(), fixture.tier.0.stored.load(Ordering::SeqCst)), (4, 0));
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_only_told_is_told_to_all_of_a_process_and_no_process_waits_for_many_others() {
    let fixture = fixture();
    let began = Instant::now();
    let calls: Vec<_> = (0..8)
        .map(|call| {
            let engine = [&fixture.one, &fixture.two][call % 2];
            tokio::spawn(fixture.fetch_with(engine, Computed::Tell(value("v"))))
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().value, value("v"));
    }
    assert!(began.elapsed() < WORK * 3, "{:?}", began.elapsed());
    assert_eq!((fixture.runs(), fixture.tier.0.stored.load(Ordering::SeqCst)), (2, 0));
    assert_eq!(text(&fixture.fetch(&fixture.one, "w").await).1, CacheOutcome::Miss, "nothing was kept");
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn of_many_processes_whose_results_are_not_kept_none_waits_for_more_than_two() {
    let fixture = fixture();
    let commons = Commons::create().unwrap();
    let began = Instant::now();
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let terms = fixture.one.terms.clone();
            let process = Engine::new(fixture.tier.clone(), terms, &commons, fixture.one.metrics.clone());
            tokio::spawn(fixture.fetch_with(&Arc::new(process), Computed::Tell(value("v"))))
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(began.elapsed() < WORK * 4, "{:?}", began.elapsed());
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_a_fact_is_kept_for_its_own_time() {
    let fixture = fixture();
    let error = Value::Error(bytes::Bytes::from_static(b"{}"));
    fixture.fetch_with(&fixture.one, Computed::KeepBriefly(error.clone())).await.unwrap();
    assert_eq!(text(&fixture.fetch(&fixture.two, "v").await), (error, CacheOutcome::Hit));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(text(&fixture.fetch(&fixture.two, "v").await), (value("v"), CacheOutcome::Miss));
    let none = fixture_with(|settings| settings.cache.negative_ttl_s = 0);
    none.fetch_with(&none.one, Computed::KeepBriefly(value("v"))).await.unwrap();
    assert_eq!(none.tier.0.stored.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_a_write_does_not_wait_for_what_began_before_it() {
    let fixture = fixture();
    let before = tokio::spawn(fixture.fetch(&fixture.one, "old"));
    tokio::time::sleep(WORK / 2).await;
    fixture.tier.bump(&[]).await;
    let after = tokio::spawn(fixture.fetch(&fixture.one, "new"));
    let also = tokio::spawn(fixture.fetch(&fixture.two, "new"));
    assert_eq!(before.await.unwrap().unwrap().value, value("old"), "it was asked before");
    assert_eq!(after.await.unwrap().unwrap().value, value("new"));
    assert_eq!(also.await.unwrap().unwrap().value, value("new"));
    assert_eq!(text(&fixture.fetch(&fixture.one, "newer").await), (value("new"), CacheOutcome::Hit));
    assert_eq!(fixture.runs(), 2);
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_cannot_be_trusted_is_not_written_and_callers_still_share() {
    let fixture = fixture();
    fixture.tier.0.untrusted.store(true, Ordering::SeqCst);
    let calls: Vec<_> = (0..4).map(|_| tokio::spawn(fixture.fetch(&fixture.one, "v"))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().value, value("v"));
    }
    assert_eq!((fixture.answers("bypassed"), fixture.answers("coalesced")), (1, 3));
    assert_eq!((fixture.runs(), fixture.tier.0.stored.load(Ordering::SeqCst)), (1, 0));
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn where_others_write_untold_nobody_gets_what_began_before_he_asked() {
    let fixture = fixture();
    fixture.tier.0.untrusted.store(true, Ordering::SeqCst);
    fixture.tier.0.others.store(true, Ordering::SeqCst);
    let before = tokio::spawn(fixture.fetch(&fixture.one, "before"));
    tokio::task::yield_now().await;
    // Another machine writes now.
    let after: Vec<_> = (0..3).map(|_| tokio::spawn(fixture.fetch(&fixture.one, "after"))).collect();
    assert_eq!(before.await.unwrap().unwrap().value, value("before"));
    for call in after {
        assert_eq!(call.await.unwrap().unwrap().value, value("after"));
    }
    assert_eq!(fixture.runs(), 2, "they share the next one");
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn who_was_stopped_while_computing_answers_its_caller_and_does_not_store() {
    let fixture = fixture();
    fixture.tier.0.deaf.store(true, Ordering::SeqCst);
    let stopped = tokio::spawn(fixture.fetch(&fixture.one, "late"));
    tokio::time::sleep(LEASE * 2).await;
    fixture.tier.0.deaf.store(false, Ordering::SeqCst);
    let next = tokio::spawn(fixture.fetch(&fixture.two, "v"));
    assert_eq!(text(&stopped.await.unwrap()), (value("late"), CacheOutcome::Miss));
    assert_eq!(text(&next.await.unwrap()), (value("v"), CacheOutcome::Miss));
    assert_eq!(text(&fixture.fetch(&fixture.one, "w").await), (value("v"), CacheOutcome::Hit));
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_computation_keeps_its_lease() {
    let fixture = fixture();
    let slow = tokio::spawn(fixture.fetch(&fixture.one, "v"));
    tokio::time::sleep(LEASE * 3).await;
    assert_eq!(fixture.fetch(&fixture.two, "w").await.unwrap().value, value("v"));
    slow.await.unwrap().unwrap();
    assert_eq!(fixture.runs(), 1);
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn who_gets_the_lease_after_another_has_stored_does_not_compute() {
    let fixture = fixture();
    let commons = Commons::create().unwrap();
    let far = Memory(Arc::clone(&fixture.tier.0), WORK * 2);
    let far = Engine::new(far, fixture.one.terms.clone(), &commons, fixture.one.metrics.clone());
    let late = tokio::spawn(fixture.fetch(&Arc::new(far), "again"));
    let first = tokio::spawn(fixture.fetch(&fixture.one, "v"));
    assert_eq!(text(&first.await.unwrap()), (value("v"), CacheOutcome::Miss));
    assert_eq!(text(&late.await.unwrap()), (value("v"), CacheOutcome::Coalesced));
    assert_eq!(fixture.runs(), 1);
    fixture.settle().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_told_and_not_kept() {
    let fixture = fixture_with(|settings| settings.cache.entry_bytes = 1_024);
    fixture.fetch(&fixture.one, &"x".repeat(1_023)).await.unwrap();
    assert_eq!(faults(&fixture.scoreboard, "too_large"), 1, "with the two bytes of its text it is over the limit");
    assert_eq!(fixture.tier.0.stored.load(Ordering::SeqCst), 0);
    fixture.settle().await;
}

/// Callers come, wait, leave and panic at random.
async fn storm(fixture: &Fixture, seed: u64, check: impl Fn(usize) + Clone + Send + 'static) {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut calls = Vec::new();
    for _ in 0..200 {
        let (wait, patience) = (random.random_range(0..400_u64), random.random_range(0..300_u64));
        let (work, ending) = (random.random_range(0..60_u64), random.random_range(0..5));
        let (engine, running) = (Arc::clone(&fixture.one), Arc::clone(&fixture.running));
        let check = check.clone();
        calls.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            let wanted =
                Wanted { key: key(), tool: 0, name: "t {}", tags: &[], ttl: Some(Duration::ZERO), stale: false };
            let compute = move || async move {
                check(running.fetch_add(1, Ordering::SeqCst));
                let _running = Running(running);
                tokio::time::sleep(Duration::from_millis(work)).await;
                match ending {
                    0 => Computed::Keep(value("v")),
                    1 => Computed::KeepBriefly(value("v")),
                    2 => Computed::Tell(value("v")),
                    3 => Computed::TellOne(value("v")),
                    _ => panic!("as it is to"),
                }
            };
            let fetching = engine.fetch(wanted, compute);
            match tokio::time::timeout(Duration::from_millis(patience), fetching).await {
                Ok(Some(fetched)) => assert_eq!(fetched.value, value("v")),
                Ok(None) => assert_eq!(ending, 4, "only a panic comes to nothing"),
                Err(_) => {}
            }
        }));
    }
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_it_is_computed_once_at_a_time_and_nobody_is_forgotten() {
    for seed in 0..20 {
        let fixture = fixture();
        storm(&fixture, seed, |others| assert_eq!(others, 0)).await;
        fixture.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_on_many_threads_ends() {
    for seed in 0..3 {
        let fixture = fixture();
        storm(&fixture, seed, |_| {}).await;
        fixture.settle().await;
    }
}

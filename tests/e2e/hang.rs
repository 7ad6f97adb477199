//! Workers that stop answering: steered around, replaced, and nobody else's requests fail.
//!
//! The promises are 250 ms until new connections go elsewhere and 6 s until another worker serves. They are those of a machine
//! that runs its processes; what this machine stood still meanwhile comes on top, as far as the sleep of the test was late.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use task_mcp_bench::{Outcome, Plan, Reuse, fetch, run};

use crate::support::{
    Control, Load, Metrics, Process, Server, Signal, Sockets, Stalls, Tree, modern_call, sockets_of, steady,
};

const WORKERS: usize = 3;
const PARKED_WITHIN: Duration = Duration::from_millis(250);
const REPLACED_WITHIN: Duration = Duration::from_secs(6);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What was seen between the moment a worker fell silent and the moment another served in its place.
struct Silence {
    parked: Option<Duration>,
    replaced: Duration,
    stalls: Stalls,
    /// Every connection the silent worker held.
    sockets: Sockets,
}

/// Watches from `since` until the slot of `silent` is sound again with another worker.
fn watch(control: &mut Control, silent: Process, since: Instant) -> Silence {
    let (mut parked, mut stalls, mut sockets) = (None, Stalls::default(), Sockets::default());
    loop {
        let status = control.status();
        let elapsed = since.elapsed();
        // A worker whose only thread spins still accepts, so its connections are looked at until it is gone.
        sockets.add(&sockets_of(silent));
        if status.is_whole(WORKERS) && status.slot_of(silent.pid).is_none() {
            return Silence { parked, replaced: elapsed, stalls, sockets };
        }
        if parked.is_none() && status.slot_of(silent.pid).is_some_and(|slot| slot.state() != "live") {
            parked = Some(elapsed);
        }
        assert!(elapsed < 5 * REPLACED_WITHIN, "never replaced: {status:?}");
        stalls.sleep(LOOK_EVERY);
    }
}

impl Silence {
    fn assert_promises(&self) {
        let (parked, replaced) = (self.parked.expect("it was parked"), self.replaced);
        eprintln!("parked after {parked:?}, replaced after {replaced:?}, {:?}", self.stalls);
        assert!(parked <= self.stalls.allow(PARKED_WITHIN), "parked after {parked:?}, {:?}", self.stalls);
        assert!(replaced <= self.stalls.allow(REPLACED_WITHIN), "replaced after {replaced:?}, {:?}", self.stalls);
    }
}

/// The load fails on the connections of the silent worker only, and after it fell silent only.
fn assert_only_its_own_failed(load: Load, silence: &Silence, since: Instant) {
    for report in load.stop() {
        assert!(report.count(Outcome::Ok) > 100, "the others served on: {report}");
        for mishap in report.mishaps() {
            let cut = matches!(mishap.outcome, Outcome::Reset | Outcome::Eof | Outcome::Partial);
            let its_own = mishap.ended >= since && silence.sockets.has(mishap.local_port);
            assert!(cut && its_own, "another worker's request: {mishap:?}\n{report}");
        }
        // Whoever was served by another worker never waited for the silent one.
        assert!(report.latency_us(0.5) < 500_000, "{report}");
    }
}

#[test]
fn a_stopped_worker_is_parked_within_250_ms_and_replaced_within_six_seconds() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).for_load(WORKERS).start();
    let mut control = Control::new(&server);
    for _ in 0..2 {
        let load = Load::start(steady(&server, &modern_call("test_sleep", json!({"ms": 5})), 200.0, 128));
        let victim = server.wait_workers(WORKERS, &[])[1];
        let since = Instant::now();
        victim.signal(Signal::SIGSTOP);
        let silence = watch(&mut control, victim, since);
        silence.assert_promises();
        load.wait_more(50);
        assert_only_its_own_failed(load, &silence, since);
    }
}

#[test]
fn a_handler_that_never_yields_costs_its_own_worker_only() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).for_load(WORKERS).start();
    let mut control = Control::new(&server);
    let load = Load::start(steady(&server, &modern_call("test_sleep", json!({"ms": 5})), 200.0, 128));
    let workers = server.wait_workers(WORKERS, &[]);
    let cached = cache_files(&server);
    let since = Instant::now();
    let spin = thread::spawn({
        let mut plan = Plan::new(server.address(), modern_call("test_spin", json!({"ms": 60_000})));
        (plan.connections, plan.max_requests) = (1, 1);
        (plan.max_duration, plan.timeout) = (Duration::from_secs(60), Duration::from_secs(60));
        move || run(&plan).unwrap()
    });
    // Nobody knows beforehand which worker takes the call: it is the one that falls silent.
    let mut stalls = Stalls::default();
    let (silent, parked) = loop {
        let status = control.status();
        let elapsed = since.elapsed();
        let silent = status.workers().into_iter().find(|slot| slot.state() != "live").and_then(|slot| slot.pid());
        if let Some(pid) = silent {
            break (workers.iter().copied().find(|worker| worker.pid == pid).expect("one of them"), elapsed);
        }
        assert!(elapsed < REPLACED_WITHIN, "no worker was parked: {status:?}");
        stalls.sleep(LOOK_EVERY);
    };
    let mut silence = watch(&mut control, silent, since);
    (silence.parked, silence.stalls) = (Some(parked), stalls.and(silence.stalls));
    silence.assert_promises();
    let spun = spin.join().unwrap();
    assert_eq!(spun.failed(), 1, "the call that spins dies with its worker: {spun}");
    load.wait_more(50);
    assert_only_its_own_failed(load, &silence, since);
    let killed = server.metrics().sum("task_mcp_processes_killed_total", &[("reason", "hung")]);
    assert_eq!(killed, 1.0);
    assert_eq!(cache_files(&server), cached, "a worker that was aborted for hanging says nothing against the cache");
}

/// The names of the files of the cache.
fn cache_files(server: &Server) -> BTreeSet<OsString> {
    let files = fs::read_dir(server.folder().join("run/cache")).expect("the instance has a cache");
    files.map(|file| file.expect("an entry").file_name()).collect()
}

#[test]
fn metrics_are_answered_while_every_worker_is_overloaded() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).for_load(WORKERS).start();
    let mut control = Control::new(&server);
    // Shorter than what counts as hung; whoever is silent gets no new connections, so that all are soon.
    let mut plan = Plan::new(server.address(), modern_call("test_spin", json!({"ms": 900})));
    (plan.connections, plan.reuse, plan.max_duration) = (12, Reuse::OnePerRequest, Duration::from_secs(60));
    let handle = plan.control.clone();
    let spins = thread::spawn(move || run(&plan).unwrap());
    let mut scrapes_of_silence = 0;
    let started = Instant::now();
    while scrapes_of_silence < 10 {
        let silent = |control: &mut Control| control.status().workers().iter().all(|slot| slot.state() != "live");
        let before = silent(&mut control);
        let metrics = server.metrics();
        assert!(metrics.sum("task_mcp_http_requests_in_flight", &[]) <= 12.0);
        scrapes_of_silence += usize::from(before && silent(&mut control));
        assert!(started.elapsed() < Duration::from_secs(30), "all workers were never silent at once");
        thread::sleep(LOOK_EVERY);
    }
    handle.stop();
    drop(server);
    drop(spins.join().unwrap());
}

/// With a fair share of the processors the busy loop is silent and runs all the same: that is not want of a processor.
#[test]
fn a_busy_loop_beside_four_others_is_replaced_within_six_seconds() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).for_load(WORKERS).start();
    let address = server.address();
    let busy = AtomicBool::new(true);
    let killed = |now: &Metrics| now.sum("task_mcp_processes_killed_total", &[("reason", "hung")]) == 1.0;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while busy.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let spin = modern_call("test_spin", json!({"ms": 60_000}));
        let call = scope.spawn(move || fetch(address, &spin, Duration::from_secs(60)));
        let since = Instant::now();
        let mut stalls = Stalls::default();
        while !server.try_metrics().is_some_and(|now| killed(&now)) && since.elapsed() < stalls.allow(REPLACED_WITHIN) {
            stalls.sleep(LOOK_EVERY);
        }
        let took = since.elapsed();
        busy.store(false, Ordering::Relaxed);
        assert!(took < stalls.allow(REPLACED_WITHIN), "not replaced after {took:?}, {stalls:?}");
        assert!(call.join().unwrap().is_err(), "the call that spins dies with its worker");
    });
    server.wait_workers(WORKERS, &[]);
}

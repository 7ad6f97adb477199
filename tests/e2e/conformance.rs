//! The official conformance suite, of both eras: on one instance; with every single request at a random one of two instances that
//! share nothing but Redis; the same while workers are killed.
//!
//! Everything that the suite can pass must pass, what it does not score included, without a warning.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use task_mcp_bench::{Request, fetch};

use crate::support::{Cluster, Loss, Lost, Router, Scenario, Server, Signal, Suite, Tree, modern_call, sized};

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";
/// How often a scenario is begun anew that lost a connection; with a worker killed every two seconds, two in a row are no rarity for
/// those that last several seconds.
const RETRIES_MAX: usize = 4;
/// How much later than the request the line that announces a scenario may be read.
const LINE_DELAY: Duration = Duration::from_millis(100);

/// All faults of all scenarios fail the test at once.
fn assert_faultless(scenarios: &[Scenario]) {
    let faults: Vec<String> = scenarios.iter().flat_map(Scenario::faults).collect();
    let failed = scenarios.iter().filter(|scenario| !scenario.faults().is_empty()).count();
    assert!(faults.is_empty(), "{failed} of {} scenarios have faults:\n{}", scenarios.len(), faults.join("\n"));
}

fn alone(revision: &'static str) {
    let suite = Suite::of(revision);
    let tree = Tree::new();
    let server = Server::build(tree.root()).for_load(2).start();
    assert_faultless(&suite.run(&server.url()));
}

fn routed(revision: &'static str) {
    let suite = Suite::of(revision);
    let cluster = Cluster::start(5);
    let scenarios = suite.run(&cluster.router().url());
    assert_faultless(&scenarios);
    cluster.assert_both_were_asked();
    let losses = cluster.router().losses();
    assert!(losses.is_empty(), "nobody was killed: {losses:?}");
}

/// Whether a request that the scenario sent was lost while it ran.
fn lost_in(losses: &[Loss], scenario: &Scenario) -> bool {
    let during = |loss: &&Loss| loss.began + LINE_DELAY >= scenario.began && loss.at <= scenario.ended;
    losses.iter().any(|loss| during(&loss))
}

/// Kills a worker every two seconds, of one instance and then the other, while `work` is done. How many it killed.
fn while_workers_die<T>(servers: &[Server], work: impl FnOnce() -> T) -> (T, usize) {
    let (over, killed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let done = thread::scope(|scope| {
        let over = Over(&over);
        scope.spawn(|| {
            for server in servers.iter().cycle() {
                let next = Instant::now() + Duration::from_secs(2);
                while Instant::now() < next {
                    if over.0.load(Ordering::Relaxed) {
                        return;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                server.kill_worker();
                killed.fetch_add(1, Ordering::Relaxed);
            }
        });
        work()
    });
    (done, killed.into_inner())
}

/// Ends the killing, also when the work fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn killed(revision: &'static str, rounds: usize) {
    let suite = Suite::of(revision);
    let cluster = Cluster::start(7);
    let router = cluster.router();
    let mut retried = Vec::new();
    let ((), kills) = while_workers_die(cluster.servers(), || {
        for _ in 0..rounds {
            let mut scenarios = suite.run(&router.url());
            for scenario in &mut scenarios {
                let mut retries = 0;
                while !scenario.faults().is_empty() && lost_in(&router.losses(), scenario) && retries < RETRIES_MAX {
                    retries += 1;
                    retried.push(scenario.name.clone());
                    *scenario = suite.run_one(&router.url(), &scenario.name);
                }
            }
            assert_faultless(&scenarios);
        }
    });
    let losses = router.losses();
    let of = |how: Lost| losses.iter().filter(|loss| loss.how == how).count();
    eprintln!(
        "{revision}: {kills} workers killed, {} requests unanswered, {} answers cut, {} scenarios run again: {retried:?}",
        of(Lost::Unanswered),
        of(Lost::Cut),
        retried.len()
    );
    assert_eq!(of(Lost::Refused), 0, "no connection is refused for a worker that died");
    assert!(kills >= 3, "too few workers died for a proof: {kills}");
    cluster.assert_both_were_asked();
}

/// What the tests above trust in.
#[test]
fn a_router_sends_each_request_once_and_says_which_were_lost() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).for_load(2).start();
    let router = Router::start(1);
    // Bound and never listened to: connections are refused, and nobody else gets the port.
    let nobody = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    nobody.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    router.route_to(&[server.address(), nobody.local_addr().unwrap().as_socket().unwrap()]);
    let ask = |tool: &str, arguments| {
        fetch(router.address(), &modern_call(tool, arguments), Duration::from_secs(10)).map(|answer| answer.status)
    };
    let statuses: Vec<u16> = (0..40).map(|_| ask("changes.active", json!({})).unwrap()).collect();
    let answered = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 502).count();
    assert_eq!(router.given(), [answered as u64, refused as u64]);
    assert!(answered >= 10 && refused >= 10 && answered + refused == 40, "{statuses:?}");
    assert_eq!(router.losses().iter().filter(|loss| loss.how == Lost::Refused).count(), refused);

    let cut = Router::start(1);
    cut.route_to(&[server.address()]);
    let stream = Request::post_json("/sse", json!({"tool": "test_sleep", "input": {"ms": 30_000}}).to_string());
    thread::scope(|scope| {
        for request in [stream, modern_call("test_sleep", json!({"ms": 30_000}))] {
            let address = cut.address();
            scope.spawn(move || fetch(address, &request, Duration::from_secs(20)));
        }
        server.wait_in_flight(2);
        server.workers().iter().for_each(|worker| worker.signal(Signal::SIGKILL));
    });
    let mut how: Vec<Lost> = cut.losses().iter().map(|loss| loss.how).collect();
    how.sort();
    assert_eq!(how, [Lost::Unanswered, Lost::Cut]);
    assert_eq!(cut.given(), [2], "nothing is sent twice");
}

#[test]
fn one_instance_passes_everything_of_2025_11_25() {
    alone(LEGACY);
}

#[test]
fn one_instance_passes_everything_of_2026_07_28() {
    alone(MODERN);
}

#[test]
fn any_of_two_instances_answers_any_request_of_2025_11_25() {
    routed(LEGACY);
}

#[test]
fn any_of_two_instances_answers_any_request_of_2026_07_28() {
    routed(MODERN);
}

#[test]
fn killed_workers_cost_2025_11_25_only_their_connections() {
    killed(LEGACY, sized(5, 50));
}

#[test]
fn killed_workers_cost_2026_07_28_only_their_connections() {
    killed(MODERN, sized(1, 10));
}

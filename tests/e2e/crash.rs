//! A killed process costs what it had in flight, and is replaced.

use std::{thread, time::Duration};

use serde_json::json;
use task_mcp_bench::{Outcome, Plan, Report, Reuse, run};

use crate::support::{Caller, Dialect, Process, Server, Signal, Tree, eventually, modern_call, signal};

/// Workers killed while the load runs.
const KILLS: u64 = 3;
const LANES: u64 = 4;

fn load(server: &Server, reuse: Reuse) -> Plan {
    let mut plan = Plan::new(server.address(), modern_call("changes.active", json!({})));
    plan.connections = LANES as usize;
    plan.reuse = reuse;
    plan.max_duration = Duration::from_secs(60);
    plan.expect = Some("\"items\"".to_owned());
    plan
}

#[test]
fn killing_workers_under_load_refuses_nobody_and_costs_only_what_was_in_flight() {
    let tree = Tree::new();
    tree.add_ready_change("under-load");
    let server = Server::build(tree.root()).start();
    let plans = [load(&server, Reuse::KeepAlive), load(&server, Reuse::OnePerRequest)];
    let controls = plans.clone().map(|plan| plan.control);
    let runs = plans.map(|plan| thread::spawn(move || run(&plan).unwrap()));
    // Each kill comes after fresh work on both plans, so that it really hits a server under load.
    let served_more = |count: u64| {
        let before = controls.clone().map(|control| control.finished());
        eventually(Duration::from_secs(20), "the load goes on", || {
            controls.iter().zip(before).all(|(control, before)| control.finished() >= before + count).then_some(())
        });
    };
    served_more(50);
    let mut earlier = server.metrics();
    let mut gone: Vec<Process> = Vec::new();
    for _ in 0..KILLS {
        gone.push(server.kill_worker());
        server.wait_workers(2, &gone);
        served_more(50);
        let now = server.metrics();
        assert_eq!(now.fallen_since(&earlier), [""; 0], "counters outlive the process that counted");
        earlier = now;
    }
    controls.iter().for_each(|control| control.stop());
    for report in runs.map(|run| run.join().unwrap()) {
        assert_only_in_flight_was_lost(&report);
    }
}

fn assert_only_in_flight_was_lost(report: &Report) {
    let lost = report.count(Outcome::Reset) + report.count(Outcome::Eof) + report.count(Outcome::Partial);
    assert!(lost <= KILLS * LANES, "at most {LANES} were in flight at each kill: {report}");
    assert_eq!(report.failed(), lost, "nothing else failed, least of all a connection: {report}");
}

#[test]
fn a_killed_admin_process_is_replaced_and_metrics_come_back_with_their_counts() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    (0..10).for_each(|_| drop(Caller::new(&server, Dialect::Ndjson).call("changes.active", json!({})).ok()));
    let before = server.metrics();
    let (admin, workers) = (server.admin_process().expect("there is an admin process"), server.workers());
    admin.signal(Signal::SIGKILL);
    eventually(Duration::from_secs(5), "another admin process", || {
        server.admin_process().filter(|process| *process != admin)
    });
    let after = eventually(Duration::from_secs(5), "metrics come back", || server.try_metrics());
    assert_eq!(after.fallen_since(&before), [""; 0]);
    assert_eq!(server.workers(), workers, "the workers never noticed");
}

#[test]
fn all_processes_end_within_five_seconds_of_a_killed_supervisor() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    server.wait_workers(2, &[]);
    assert_eq!(server.survivors().len(), 3, "two workers and the admin process");
    signal(server.pid(), Signal::SIGKILL);
    eventually(Duration::from_secs(5), "the orphans end by themselves", || server.survivors().is_empty().then_some(()));
    // Nothing is left that would keep the next one from starting in the same folders, on the same port.
    let next = Server::build(tree.root())
        .set("server.listen", server.address())
        .set("supervisor.runtime_dir", server.folder().join("run").display())
        .set("supervisor.state_dir", server.folder().join("state").display())
        .start();
    Caller::new(&next, Dialect::Modern).call("changes.active", json!({})).ok();
}

#[test]
fn a_call_in_flight_is_finished_by_an_orphan() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    thread::scope(|scope| {
        let call = scope.spawn(|| Caller::new(&server, Dialect::Ndjson).call("test_sleep", json!({"ms": 1500})).ok());
        server.wait_in_flight(1);
        server.survivors();
        signal(server.pid(), Signal::SIGKILL);
        assert_eq!(call.join().unwrap()["slept_ms"], 1500);
    });
}

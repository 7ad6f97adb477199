//! Workers killed under load: what is lost is what was in flight on the dead worker, counted one by one.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use task_mcp_bench::{Mishap, Outcome, Report};

use crate::support::{
    Control, Load, Process, Server, Signal, Sockets, Tree, eventually, modern_call, sized, sockets_of, steady,
};

const WORKERS: usize = 4;
/// Between two kills.
const EVERY: Duration = Duration::from_secs(1);

/// A worker at the moment of its death.
struct Kill {
    /// Requests in flight, as the scoreboard counts them.
    in_flight: u64,
    /// Its connections, as the kernel knows them.
    sockets: Sockets,
    /// When that was read.
    read_at: Instant,
    /// Before SIGKILL was sent.
    killed_at: Instant,
}

/// Kills a worker that has been stopped first, so that what it had in flight is known exactly: a stopped process takes and
/// finishes nothing, and SIGKILL lets it run no more.
fn stop_read_kill(victim: Process, control: &mut Control) -> Kill {
    victim.signal(Signal::SIGSTOP);
    eventually(Duration::from_secs(5), "the worker is stopped", || victim.is_stopped().then_some(()));
    let status = control.status();
    let slot = status.slot_of(victim.pid).expect("its slot is known");
    let in_flight = slot.number("in_flight");
    let (read_at, sockets) = (Instant::now(), sockets_of(victim));
    assert!(slot.number("open_connections") as usize <= sockets.len(), "{slot:?} {sockets:?}");
    let killed_at = Instant::now();
    victim.signal(Signal::SIGKILL);
    Kill { in_flight, sockets, read_at, killed_at }
}

#[test]
fn a_kill_each_second_costs_what_was_in_flight_on_the_dead_worker_and_nothing_else() {
    let tree = Tree::new();
    let server = Server::build(tree.root())
        .fixture()
        .set("server.workers", WORKERS)
        .set("limits.max_connections", 4_000)
        .set("limits.max_connections_per_ip", 4_000)
        .start();
    let mut control = Control::new(&server);
    let per_s = sized(400.0, 3_000.0);
    let load = Load::start(steady(&server, &modern_call("test_sleep", json!({"ms": 5})), per_s, sized(128, 800)));
    let started = Instant::now();
    let mut earlier = server.metrics();
    let mut kills: Vec<Kill> = Vec::new();
    // The microseconds of the clock choose the victim; not the slot of the last one, because a process that is killed within
    // a second of its start died early, and what follows from that is the business of another test.
    let mut last = usize::MAX;
    for round in 1..=sized(6, 60) {
        let status = eventually(Duration::from_secs(10), "all workers serve again", || {
            Some(control.status()).filter(|status| status.is_whole(WORKERS))
        });
        let others: Vec<usize> = (0..WORKERS).filter(|slot| *slot != last).collect();
        last = others[started.elapsed().as_micros() as usize % others.len()];
        let chosen = status.workers()[last].pid();
        let victim = server.workers().into_iter().find(|worker| Some(worker.pid) == chosen).expect("it lives");
        kills.push(stop_read_kill(victim, &mut control));
        let now = server.metrics();
        assert_eq!(now.fallen_since(&earlier), [""; 0], "counters outlive the process that counted");
        earlier = now;
        thread::sleep((EVERY * round).saturating_sub(started.elapsed()));
    }
    load.wait_more(50);
    let reports = load.stop();
    let lost: u64 = reports.iter().map(Report::failed).sum();
    let answered: u64 = reports.iter().map(|report| report.count(Outcome::Ok)).sum();
    let in_flight: u64 = kills.iter().map(|kill| kill.in_flight).sum();
    for report in &reports {
        eprintln!("{report}");
        assert_only_dead_workers_lost_requests(report, &kills);
        // A load that could not be offered proves nothing.
        assert!(report.unsent() * 100 <= report.total(), "{report}");
    }
    eprintln!("{} kills, {lost} of {} lost, {in_flight} in flight at the kills", kills.len(), lost + answered);
    assert_losses_are_bounded(&reports, &kills);

    let settled = eventually(Duration::from_secs(5), "nothing is in flight", || {
        let metrics = server.try_metrics()?;
        (metrics.sum("task_mcp_http_requests_in_flight", &[]) == 0.0).then_some(metrics)
    });
    assert_eq!(settled.sum("task_mcp_requests_lost_total", &[]), in_flight as f64, "lost is what was in flight");
    // A request is counted when its answer begins, and the worker may die before that has left.
    let counted = settled.sum("http_requests_total", &[("route", "/mcp"), ("status_code", "200")]) as u64;
    assert!((answered..=answered + lost).contains(&counted), "{answered} answered, {lost} lost, {counted} counted");
}

/// The kill that a request fell victim to: the last one before its end whose worker held its connection.
fn killer<'a>(mishap: &Mishap, kills: &'a [Kill]) -> Option<&'a Kill> {
    kills.iter().rev().find(|kill| kill.killed_at <= mishap.ended && kill.sockets.has(mishap.local_port))
}

fn assert_only_dead_workers_lost_requests(report: &Report, kills: &[Kill]) {
    assert_eq!(report.mishaps().len() as u64, report.failed(), "all of them are known");
    for mishap in report.mishaps() {
        let cut = matches!(mishap.outcome, Outcome::Reset | Outcome::Eof | Outcome::Partial);
        assert!(cut, "a kill refuses nobody and lets nobody wait: {mishap:?}\n{report}");
        assert!(killer(mishap, kills).is_some(), "no dead worker held this connection: {mishap:?}\n{report}");
    }
}

/// For each kill: of the requests that had been sent when the dead worker was read, no more are lost than it had in flight and
/// unread. One more may be in its only thread's hands: read and not yet counted, or counted off and not yet written. Those
/// sent later, to a worker that was stopped already, are its unread ones too; there are no more of them than connections.
fn assert_losses_are_bounded(reports: &[Report], kills: &[Kill]) {
    let lost = |kill: &Kill| -> Vec<Mishap> {
        let mishaps = reports.iter().flat_map(Report::mishaps);
        mishaps.filter(|mishap| killer(mishap, kills).is_some_and(|by| std::ptr::eq(by, kill))).copied().collect()
    };
    for kill in kills {
        let lost = lost(kill);
        let before = lost.iter().filter(|mishap| mishap.sent.is_some_and(|sent| sent <= kill.read_at)).count();
        let (in_flight, unread, open) = (kill.in_flight as usize, kill.sockets.unread(), kill.sockets.len());
        eprintln!("lost {} ({before} sent before): {in_flight} in flight, {unread} of {open} unread", lost.len());
        assert!(before <= in_flight + unread + 1, "{before} lost, {in_flight} in flight, {unread} unread");
        assert!(lost.len() <= open, "{} lost on {open} connections", lost.len());
    }
}

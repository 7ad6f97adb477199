//! What a crash costs under systemd: of a worker, of the supervisor; and what hangs.

use std::{collections::BTreeSet, time::Duration};

use task_mcp_bench::{Outcome, Reuse};

use crate::{
    machine::{Machine, load},
    support::{Process, Signal, eventually},
};

/// How often the supervisor is killed.
const KILLS: usize = 4;

#[test]
fn a_killed_worker_is_the_business_of_the_supervisor_alone() {
    let Some(machine) = Machine::boot() else { return };
    machine.settings("");
    machine.ok(&["systemctl", "start", "task-mcp"]);
    let (supervisor, victim) = (machine.supervisor(), machine.workers()[0]);
    let report = machine.under_load(&load(Reuse::OnePerRequest), || {
        victim.signal(Signal::SIGKILL);
        eventually(Duration::from_secs(10), "another worker", || {
            let workers = machine.workers();
            (workers.len() == 2 && !workers.contains(&victim)).then_some(())
        });
    });
    assert_eq!(report.count(Outcome::Refused), 0, "{report}");
    machine.wait_property("StatusText", "Serving: 2 of 2 workers live");
    assert_eq!((machine.supervisor(), machine.property("NRestarts")), (supervisor, "0".into()));
}

#[test]
fn a_supervisor_that_hangs_is_restarted_by_the_watchdog_while_the_workers_serve() {
    let Some(machine) = Machine::boot() else { return };
    machine.settings("");
    machine.drop_in("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n");
    machine.ok(&["systemctl", "start", "task-mcp"]);
    let hung = machine.supervisor();
    let report = machine.under_load(&load(Reuse::OnePerRequest), || {
        // It lives as long as it is fed, and it is: longer than the watchdog waits.
        std::thread::sleep(Duration::from_millis(2_500));
        assert_eq!((machine.supervisor(), machine.property("NRestarts")), (hung, "0".into()));
        hung.signal(Signal::SIGSTOP);
        eventually(Duration::from_secs(15), "the end of the hung one", || (!hung.is_alive()).then_some(()));
        machine.wait_property("ActiveState", "active");
        machine.wait_property("NRestarts", "1");
    });
    assert_eq!(report.count(Outcome::Refused), 0, "{report}");
    assert_eq!(report.failed(), 0, "{report}\n{}", machine.journal());
    // What the old workers have counted, and count until they have gone, is not forgotten.
    eventually(Duration::from_secs(15), "all requests are counted", || {
        (machine.counted("http_requests_total") >= report.total()).then_some(())
    });
    assert!(machine.journal().contains("task-mcp.service: Watchdog timeout"), "{}", machine.journal());
    assert_ne!(machine.supervisor(), hung);
}

#[test]
fn a_killed_supervisor_costs_no_connection_and_leaves_no_orphan() {
    let Some(machine) = Machine::boot() else { return };
    machine.settings("");
    machine.ok(&["systemctl", "start", "task-mcp"]);
    let sockets = machine.listening(machine.supervisor());
    assert_eq!((sockets.len(), machine.property("NFileDescriptorStore")), (3, "5".into()));
    let mut gone: BTreeSet<Process> = BTreeSet::new();
    let report = machine.under_load(&load(Reuse::OnePerRequest), || {
        for kills in 1..=KILLS {
            let victim = machine.supervisor();
            gone.extend(machine.processes());
            victim.signal(Signal::SIGKILL);
            eventually(Duration::from_secs(5), "its end", || (!victim.is_alive()).then_some(()));
            machine.wait_property("NRestarts", &kills.to_string());
            machine.wait_property("ActiveState", "active");
            assert_eq!(machine.listening(machine.supervisor()), sockets, "the same sockets");
        }
    });
    eprintln!("{KILLS} kills: {report}");
    assert_eq!(report.count(Outcome::Refused), 0, "{report}");
    assert_eq!(report.failed(), 0, "workers finish what they have: {report}\n{}", machine.journal());
    eventually(Duration::from_secs(10), "the orphans end by themselves", || {
        gone.iter().all(|process| !process.is_alive()).then_some(())
    });
    assert_eq!((machine.processes().len(), machine.property("NFileDescriptorStore")), (4, "5".into()));
}

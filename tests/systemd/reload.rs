//! All workers are replaced, or the reload fails and nothing is.

use std::time::Duration;

use task_mcp_bench::Reuse;

use crate::{
    machine::{Machine, load},
    support::eventually,
};

#[test]
fn a_reload_takes_settings_over_and_fails_no_request() {
    let Some(machine) = Machine::boot() else { return };
    machine.settings("");
    machine.ok(&["systemctl", "start", "task-mcp"]);
    let (supervisor, before) = (machine.supervisor(), machine.workers());
    for (reuse, keep_alive_s) in [(Reuse::OnePerRequest, 66), (Reuse::KeepAlive, 67)] {
        let report = machine.under_load(&load(reuse), || {
            machine.settings(&format!("[limits]\nkeep_alive_s = {keep_alive_s}\n"));
            machine.ok(&["systemctl", "reload", "task-mcp"]);
        });
        assert_eq!(report.failed(), 0, "{report}\n{}", machine.journal());
    }
    let workers = machine.workers();
    assert!(workers.iter().all(|worker| !before.contains(worker)), "this key needs new workers");
    assert_eq!((machine.supervisor(), workers.len()), (supervisor, 2));
    assert_eq!(machine.property("ActiveState"), "active");
    machine.wait_property("StatusText", "Serving: 2 of 2 workers live");
}

#[test]
fn an_installed_program_takes_over_under_the_same_process_id() {
    let Some(machine) = Machine::boot() else { return };
    machine.settings("");
    machine.ok(&["systemctl", "start", "task-mcp"]);
    let (supervisor, before, sockets) =
        (machine.supervisor(), machine.workers(), machine.listening(machine.supervisor()));
    // As a package does it: another file takes the place of the one that runs.
    machine.ok(&["sh", "-c", "cp /usr/bin/task-mcp /usr/bin/.new && mv /usr/bin/.new /usr/bin/task-mcp"]);
    let report = machine.under_load(&load(Reuse::OnePerRequest), || {
        machine.ok(&["systemctl", "kill", "--kill-whom=main", "--signal=USR2", "task-mcp"]);
        eventually(Duration::from_secs(20), "other workers", || {
            let workers = machine.workers();
            (workers.len() == 2 && workers.iter().all(|worker| !before.contains(worker))).then_some(())
        });
        machine.wait_property("StatusText", "Serving: 2 of 2 workers live");
    });
    assert_eq!(report.failed(), 0, "{report}\n{}", machine.journal());
    assert_eq!((machine.supervisor().pid, machine.listening(machine.supervisor())), (supervisor.pid, sockets));
    let program = std::fs::read_link(format!("/proc/{}/exe", supervisor.pid)).unwrap();
    assert!(!program.to_string_lossy().contains("deleted"), "{program:?} is the installed one");
    assert_eq!((machine.property("NRestarts"), machine.property("NFileDescriptorStore")), ("0".into(), "5".into()));
    assert_eq!(machine.property("ActiveState"), "active");
}

#[test]
fn a_reload_with_bad_settings_fails_and_the_workers_serve_on() {
    let Some(machine) = Machine::boot() else { return };
    machine.settings("");
    machine.ok(&["systemctl", "start", "task-mcp"]);
    let before = machine.processes();
    machine.settings("nonsense = 1\n");
    let report = machine.under_load(&load(Reuse::OnePerRequest), || {
        assert_ne!(machine.run(&["systemctl", "reload", "task-mcp"]).2, 0);
    });
    assert_eq!(report.failed(), 0, "{report}");
    assert_eq!((machine.property("ActiveState"), machine.property("SubState")), ("active".into(), "running".into()));
    assert_eq!(machine.processes(), before);
    assert!(machine.journal().contains("server.nonsense"), "{}", machine.journal());
    // The service can be reloaded again once they are mended.
    machine.settings("");
    machine.ok(&["systemctl", "reload", "task-mcp"]);
}

#[test]
fn a_restart_of_the_service_fails_no_new_connection() {
    let Some(machine) = Machine::boot() else { return };
    machine.settings("");
    machine.ok(&["systemctl", "start", "task-mcp"]);
    let (before, sockets) = (machine.processes(), machine.listening(machine.supervisor()));
    let report =
        machine.under_load(&load(Reuse::OnePerRequest), || drop(machine.ok(&["systemctl", "restart", "task-mcp"])));
    assert_eq!(report.failed(), 0, "they wait in the sockets that systemd keeps: {report}\n{}", machine.journal());
    assert!(machine.processes().iter().all(|process| !before.contains(process)), "they are others");
    assert_eq!(machine.listening(machine.supervisor()), sockets);
    eventually(Duration::from_secs(5), "the status", || {
        (machine.property("StatusText") == "Serving: 2 of 2 workers live").then_some(())
    });
}

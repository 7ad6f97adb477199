//! Many restarts, crashes and changes of size: no call fails, and the supervisor grows by nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use task_mcp_bench::Report;

use crate::support::{Control, Load, Process, Server, Signal, Tree, Usage, eventually, modern_call, sized, steady};

fn server(tree: &Tree, workers: usize) -> Server {
    Server::build(tree.root()).for_load(workers).set("supervisor.lame_duck_ms", 300).start()
}

fn wait_whole(control: &mut Control, workers: usize) {
    eventually(Duration::from_secs(20), "every slot serves", || control.status().is_whole(workers).then_some(()));
}

fn pids(control: &mut Control) -> Vec<i32> {
    control.status().workers().iter().filter_map(|slot| slot.pid()).collect()
}

#[test]
fn rolling_restarts_fail_no_call_on_fresh_and_on_kept_connections() {
    let tree = Tree::new();
    let server = server(&tree, 2);
    let mut control = Control::new(&server);
    let per_s = sized(200.0, 2_000.0);
    let load = Load::start(steady(&server, &modern_call("test_sleep", json!({"ms": 5})), per_s, sized(64, 400)));
    for round in 0..sized(3, 20) {
        let before = pids(&mut control);
        if round % 2 == 0 {
            control.restart();
        } else {
            // A key that workers read when they start.
            server.write_settings(&format!("limits.keep_alive_s = {}\n", 100 + round));
            server.signal(Signal::SIGHUP);
        }
        eventually(Duration::from_secs(30), "all workers are new", || {
            (control.status().is_whole(2) && pids(&mut control).iter().all(|pid| !before.contains(pid))).then_some(())
        });
        load.wait_more(20);
    }
    load.stop_unharmed().iter().for_each(|report| eprintln!("{report}"));
}

#[test]
fn one_worker_fewer_and_one_more_again_and_again_fail_no_call() {
    let tree = Tree::new();
    let server = server(&tree, 3);
    let mut control = Control::new(&server);
    let per_s = sized(200.0, 1_500.0);
    let request = modern_call("test_sleep", json!({"ms": 5}));
    let load = Load::start(steady(&server, &request, per_s, sized(64, 400)));
    let mut announced = 0;
    for _ in 0..sized(4, 50) {
        // Connections are kept for as long as they last, so only new ones reach a new worker: here are some, to be closed.
        let mut kept = steady(&server, &request, 100.0, 48);
        let kept = Load::start(kept.split_off(1));
        server.signal(Signal::SIGTTOU);
        wait_whole(&mut control, 2);
        announced += kept.stop_unharmed().iter().map(Report::announced_closes).sum::<u64>();
        server.signal(Signal::SIGTTIN);
        wait_whole(&mut control, 3);
        load.wait_more(5);
    }
    assert!(announced > 0, "clients on a worker that leaves are told to turn away");
    load.stop_unharmed().iter().for_each(|report| eprintln!("{report}"));
}

/// What the processes take that live through everything.
struct Taken {
    supervisor: Usage,
    /// Descriptors of the admin process.
    admin: usize,
}

#[test]
fn cycles_of_crashes_and_reloads_leave_no_descriptor_memory_thread_or_zombie_behind() {
    const WORKERS: usize = 4;
    /// A worker that dies within a second of its start is a crash loop, which is another test.
    const GROWN_UP: Duration = Duration::from_millis(1_100);
    let tree = Tree::new();
    let server = Server::build(tree.root())
        .fixture()
        .set("server.workers", WORKERS)
        .set("supervisor.lame_duck_ms", 0)
        .settings("[limits]\nbody_bytes = 2000000\nkeep_alive_s = 100\n")
        .start();
    let mut control = Control::new(&server);
    let descriptors = |pid: i32| Usage::of(pid).descriptors;
    let admin = server.admin_process().expect("it lives");
    let settled = |control: &mut Control| {
        wait_whole(control, WORKERS);
        eventually(Duration::from_secs(10), "the dead are reaped", || {
            (Process::zombies_of(server.pid()) == 0).then_some(())
        });
        Taken { supervisor: Usage::of(server.pid()), admin: descriptors(admin.pid) }
    };
    let mut served_since = [Instant::now(); WORKERS];
    let mut cycle = |control: &mut Control, round: usize| match round % 3 {
        0 => {
            let slot = round / 3 % WORKERS;
            thread::sleep(GROWN_UP.saturating_sub(served_since[slot].elapsed()));
            let pid = control.status().workers()[slot].pid().expect("it lives");
            server.workers().into_iter().find(|worker| worker.pid == pid).expect("it lives").signal(Signal::SIGKILL);
            eventually(Duration::from_secs(10), "it is replaced", || {
                let status = control.status();
                (status.is_whole(WORKERS) && status.slot_of(pid).is_none()).then_some(())
            });
            served_since[slot] = Instant::now();
        }
        // Processes take over a limit of bodies in place; they read the other key when they start.
        kind => {
            let before = pids(control);
            // Both change once in three rounds: the first in the round before the second.
            let (body_bytes, keep_alive_s) = (2_000_001 + round / 3, 100 + (round + 1) / 3);
            server.write_settings(&format!("[limits]\nbody_bytes = {body_bytes}\nkeep_alive_s = {keep_alive_s}\n"));
            let (done, told) = control.order("reload");
            assert!(done, "{told}");
            if kind == 1 {
                assert_eq!(pids(control), before, "a reload in place replaces nobody: {told}");
            } else {
                wait_whole(control, WORKERS);
                assert!(pids(control).iter().all(|pid| !before.contains(pid)), "all workers are new: {told}");
                served_since = [Instant::now(); WORKERS];
            }
        }
    };
    // The first rounds fill what is filled once: the allocator's pages, the records of the slots.
    let warm_up = sized(6, 48);
    (0..warm_up).for_each(|round| cycle(&mut control, round));
    let before = settled(&mut control);
    (warm_up..warm_up + sized(12, 500)).for_each(|round| cycle(&mut control, round));
    let after = settled(&mut control);
    eprintln!("{:?}, then {:?}", before.supervisor, after.supervisor);
    assert_eq!(
        (after.supervisor.descriptors, after.supervisor.threads),
        (before.supervisor.descriptors, before.supervisor.threads)
    );
    // Half a page per cycle would be a leak; the allocator may still take some pages once.
    let grown_kib = after.supervisor.resident_kib.saturating_sub(before.supervisor.resident_kib);
    assert!(grown_kib <= 1_024, "the supervisor grew by {grown_kib} KiB");
    assert_eq!(server.workers().len(), WORKERS, "no orphan is left");
    assert_eq!(server.admin_process(), Some(admin), "it lived through all of it");
    assert_eq!(after.admin, before.admin, "descriptors of the admin process");

    // A worker that takes over one revision in place after the other keeps none of them open.
    let mut reload_in_place = |round: usize| {
        server.write_settings(&format!("[limits]\nbody_bytes = {}\nkeep_alive_s = 99\n", 3_000_000 + round));
        let (done, told) = control.order("reload");
        assert!(done, "{told}");
    };
    // The first one brings new workers too.
    (0..2).for_each(&mut reload_in_place);
    let workers = server.workers();
    let all = || workers.iter().map(|worker| descriptors(worker.pid)).collect::<Vec<_>>();
    let before = all();
    (2..sized(8, 100)).for_each(&mut reload_in_place);
    assert_eq!((server.workers(), all()), (workers.clone(), before), "the same workers with as many descriptors");
}

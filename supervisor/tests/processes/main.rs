//! Promises of the supervisor on real processes. The processes are this test program itself: `fake_process` plays a
//! worker or an admin process, and a shell script stands between, because a test program takes other arguments.
//!
//! - `stage`: an instance and what is known of its processes; `fake`: what plays them, `radio`: one that uses the bus
//! - `relay`: what one process says to others, and questions for the admin process
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, unreachable_pub)]

mod fake;
mod radio;
mod relay;
mod stage;

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process, test_kill_process};
use task_mcp_supervisor::{Exit, Request, Response, control};

use self::stage::{PATIENCE, Stage, TermOnDrop, born, send_self, wait_for};

#[test]
fn sigterm_drains_all_processes_and_other_signals_end_nothing() {
    let stage = Stage::new();
    let dir = stage.dir.path().to_owned();
    let exit = stage.run("serve", stage.settings(), move |ready| {
        assert_eq!(ready.workers, 2);
        assert!(ready.endpoints.iter().all(|endpoint| endpoint.port() != 0) && ready.admin.port() != 0);
        assert_eq!(born(&dir).len(), 3);
        for signal in [Signal::USR1, Signal::USR2, Signal::QUIT] {
            send_self(signal);
        }
        send_self(Signal::TERM);
    });
    assert_eq!(exit, Exit::Clean);
}

#[test]
fn a_killed_worker_is_replaced_and_what_it_was_serving_is_counted() {
    let stage = Stage::new();
    let dir = stage.dir.path().to_owned();
    let exit = stage.run("busy", stage.settings(), move |_| {
        std::thread::spawn(move || {
            let _end = TermOnDrop;
            let victim = born(&dir)["worker-0-1"];
            kill_process(victim, Signal::KILL).unwrap();
            wait_for("a successor", || dir.join("born/worker-0-4").exists());
        });
    });
    assert_eq!(exit, Exit::Clean);
    let seen = fs::read_to_string(stage.dir.path().join("metrics")).unwrap();
    assert_eq!(seen, "lost 2, restarts 1");
}

#[test]
fn a_stopped_worker_is_replaced_before_it_is_ended_and_its_requests_are_counted() {
    let stage = Stage::new();
    let dir = stage.dir.path().to_owned();
    let (sender, told) = std::sync::mpsc::channel();
    let exit = stage.run("busy", stage.settings(), move |_| {
        std::thread::spawn(move || {
            let _end = TermOnDrop;
            let victim = born(&dir)["worker-0-1"];
            kill_process(victim, Signal::STOP).unwrap();
            let stopped = Instant::now();
            wait_for("a successor", || dir.join("born/worker-0-4").exists());
            let alive = test_kill_process(victim).is_ok();
            wait_for("the end of the stopped one", || test_kill_process(victim).is_err());
            sender.send((alive, stopped.elapsed())).unwrap();
        });
    });
    assert_eq!(exit, Exit::Clean);
    let (alive, took) = told.recv().unwrap();
    assert!(alive, "the successor comes first");
    // Found after 1 s; SIGABRT waits for a process that is stopped, SIGKILL does not.
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(6), "{took:?}");
    assert_eq!(fs::read_to_string(stage.dir.path().join("metrics")).unwrap(), "lost 2, restarts 1");
    assert_eq!(born(stage.dir.path()).len(), 4, "nobody else was replaced");
}

#[test]
fn sighup_replaces_all_workers_one_by_one() {
    let stage = Stage::new();
    let dir = stage.dir.path().to_owned();
    let exit = stage.run("serve", stage.settings(), move |_| {
        send_self(Signal::HUP);
        std::thread::spawn(move || {
            let _end = TermOnDrop;
            let old = born(&dir);
            wait_for("the canary", || dir.join("born/worker-0-4").exists());
            assert!(!dir.join("born/worker-1-5").exists() && test_kill_process(old["worker-0-1"]).is_ok());
            wait_for("the second", || dir.join("born/worker-1-5").exists());
            assert!(test_kill_process(old["worker-0-1"]).is_err(), "the first has gone before the second slot begins");
            wait_for("the end of the last", || test_kill_process(old["worker-1-2"]).is_err());
        });
    });
    assert_eq!(exit, Exit::Clean);
    assert_eq!(born(stage.dir.path()).len(), 5);
}

#[test]
fn a_canary_that_dies_leaves_the_old_workers_alone() {
    let stage = Stage::new();
    let dir = stage.dir.path().to_owned();
    let exit = stage.run("die-later", stage.settings(), move |_| {
        send_self(Signal::HUP);
        std::thread::spawn(move || {
            let _end = TermOnDrop;
            wait_for("the canary", || dir.join("born/worker-0-4").exists());
            wait_for("its end", || test_kill_process(born(&dir)["worker-0-4"]).is_err());
            assert!(["worker-0-1", "worker-1-2"].iter().all(|old| test_kill_process(born(&dir)[*old]).is_ok()));
        });
    });
    assert_eq!(exit, Exit::Clean);
    assert_eq!(born(stage.dir.path()).len(), 4, "nobody else was started");
}

#[test]
fn sigttin_adds_a_worker_and_sigttou_takes_the_highest_away() {
    let stage = Stage::new();
    let dir = stage.dir.path().to_owned();
    let exit = stage.run("serve", stage.settings(), move |ready| {
        let endpoint = ready.endpoints[0];
        send_self(Signal::TTIN);
        std::thread::spawn(move || {
            let _end = TermOnDrop;
            wait_for("a third worker", || dir.join("born/worker-2-4").exists());
            let added = born(&dir)["worker-2-4"];
            send_self(Signal::TTOU);
            wait_for("its end", || test_kill_process(added).is_err());
            // Nobody accepts in this test: whatever connects waits in one of the slots that are left.
            let clients = (0..50).map(|_| std::net::TcpStream::connect(endpoint));
            assert!(clients.collect::<Result<Vec<_>, _>>().is_ok());
        });
    });
    assert_eq!(exit, Exit::Clean);
    assert_eq!(born(stage.dir.path()).len(), 4);
}

#[test]
fn the_control_socket_tells_and_does_what_it_is_asked() {
    let stage = Stage::new();
    let dir = stage.dir.path().to_owned();
    let (sender, told) = std::sync::mpsc::channel();
    let exit = stage.run("busy", stage.settings(), move |ready| {
        let endpoints = ready.endpoints.clone();
        std::thread::spawn(move || {
            let _end = TermOnDrop;
            let ask = |request: Request| control(&dir.join("run/control.sock"), &request, PATIENCE).unwrap();
            let status = |response| match response {
                Response::Status(status) => status,
                other => panic!("{other:?}"),
            };
            let before = status(ask(Request::Status));
            assert_eq!((before.pid, &before.endpoints, before.workers), (std::process::id(), &endpoints, 2));
            let names: Vec<&str> = before.slots.iter().map(|slot| slot.name.as_str()).collect();
            assert_eq!(names, ["worker 0", "worker 1", "admin process"]);
            assert!(before.slots.iter().all(|slot| slot.state == "live" && slot.restarts == 0), "{before:?}");
            assert_eq!((before.slots[0].in_flight, before.slots[1].in_flight), (2, 0));
            let _waits: Vec<_> = (0..9).map(|_| std::net::TcpStream::connect(endpoints[0]).unwrap()).collect();
            assert!(matches!(ask(Request::Restart), Response::Done { .. }));
            assert!(matches!(ask(Request::Scale { workers: 3 }), Response::Done { .. }));
            let after = status(ask(Request::Status));
            assert_eq!((after.workers, after.slots.len()), (3, 4));
            for (old, new) in before.slots.iter().zip(&after.slots).take(2) {
                assert!(new.generation > old.generation && new.pid != old.pid && new.restarts == 1);
                assert_eq!(new.last_exit.as_deref(), Some("exit code 0"));
            }
            assert_eq!(after.slots.iter().map(|slot| slot.waiting).sum::<u32>(), 9, "nobody accepts in this test");
            assert!(matches!(ask(Request::Drain), Response::Done { .. }));
            sender.send(()).unwrap();
        });
    });
    told.recv().unwrap();
    assert_eq!(exit, Exit::Clean);
    assert!(!stage.dir.path().join("run/control.sock").exists());
}

#[test]
fn a_number_of_workers_is_answered_when_they_serve_or_why_they_never_will() {
    let stage = Stage::new();
    let dir = stage.dir.path().to_owned();
    let (sender, told) = std::sync::mpsc::channel();
    let exit = stage.run("mute-later", stage.settings(), move |_| {
        std::thread::spawn(move || {
            let _end = TermOnDrop;
            let socket = dir.join("run/control.sock");
            let failure = |response| match response {
                Response::Failed { reason } => reason,
                other => panic!("{other:?}"),
            };
            let first = {
                let socket = socket.clone();
                std::thread::spawn(move || control(&socket, &Request::Scale { workers: 3 }, PATIENCE).unwrap())
            };
            wait_for("the third worker", || dir.join("born/worker-2-4").exists());
            assert!(!first.is_finished(), "it does not serve");
            let last = control(&socket, &Request::Scale { workers: 2 }, PATIENCE).unwrap();
            assert!(matches!(last, Response::Done { .. }), "{last:?}");
            let over = control(&socket, &Request::Scale { workers: 500 }, PATIENCE).unwrap();
            sender.send((failure(first.join().unwrap()), failure(over))).unwrap();
        });
    });
    assert_eq!(exit, Exit::Clean);
    let (superseded, over) = told.recv().unwrap();
    assert!(superseded.contains("superseded by one for 2 workers"), "{superseded}");
    assert!(over.contains("1 to 32 workers"), "{over}");
}

#[test]
fn a_worker_that_leaves_unasked_is_replaced_while_it_finishes() {
    let stage = Stage::new();
    let dir = stage.dir.path().to_owned();
    let exit = stage.run("quitter", stage.settings(), move |_| {
        std::thread::spawn(move || {
            let _end = TermOnDrop;
            wait_for("a successor", || dir.join("born/worker-0-4").exists());
            let old = born(&dir)["worker-0-1"];
            assert!(test_kill_process(old).is_ok(), "it has not left yet");
            kill_process(old, Signal::KILL).unwrap();
            wait_for("its end", || test_kill_process(old).is_err());
        });
    });
    assert_eq!(exit, Exit::Clean);
}

#[test]
fn a_restart_that_fails_says_so_to_who_asked() {
    let stage = Stage::new();
    let dir = stage.dir.path().to_owned();
    let (sender, told) = std::sync::mpsc::channel();
    let exit = stage.run("die-later", stage.settings(), move |_| {
        std::thread::spawn(move || {
            let _end = TermOnDrop;
            sender.send(control(&dir.join("run/control.sock"), &Request::Restart, PATIENCE).unwrap()).unwrap();
        });
    });
    assert_eq!(exit, Exit::Clean);
    let Response::Failed { reason } = told.recv().unwrap() else { panic!("not failed") };
    assert!(reason.contains("worker 0 died"), "{reason}");
}

#[test]
fn settings_no_process_can_work_with_end_the_instance_with_78() {
    let stage = Stage::new();
    let exit = stage.run("config", stage.settings(), |_| panic!("never ready"));
    assert_eq!(exit, Exit::Config);
}

#[test]
fn processes_that_die_at_once_end_the_instance_with_70_after_the_limit() {
    let stage = Stage::new();
    let exit = stage.run("die", stage.settings(), |_| panic!("never ready"));
    assert_eq!(exit, Exit::Bug);
    let tries = born(stage.dir.path()).len();
    assert!((3..=9).contains(&tries), "{tries} tries for a limit of 3 and three posts");
}

#[test]
fn a_process_that_ignores_the_drain_is_killed_at_the_deadline() {
    let stage = Stage::new();
    let mut settings = stage.settings();
    settings.supervisor.drain_timeout_s = 1;
    let (sender, told) = std::sync::mpsc::channel();
    let exit = stage.run("stubborn", settings, move |_| {
        sender.send(Instant::now()).unwrap();
        send_self(Signal::TERM);
    });
    let took = told.recv().unwrap().elapsed();
    assert_eq!(exit, Exit::Forced);
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let stage = Stage::new();
    let started = Instant::now();
    let exit = stage.run("stubborn", stage.settings(), move |_| {
        send_self(Signal::TERM);
        send_self(Signal::INT);
    });
    assert_eq!(exit, Exit::Clean, "nothing was being served");
    assert!(started.elapsed() < PATIENCE, "the drain would have taken 30 s");
}

#[test]
fn a_worker_that_cut_calls_makes_the_exit_75() {
    let stage = Stage::new();
    assert_eq!(stage.run("forced", stage.settings(), |_| send_self(Signal::TERM)), Exit::Forced);
}

#[test]
#[ignore = "plays a process of the other tests, which start it"]
fn fake_process() {
    fake::play();
}

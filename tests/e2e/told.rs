//! What reaches a process from outside does not end or stop it: messages it has no descriptors or no time for, and the signals
//! of a terminal.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::support::{Caller, Control, Dialect, Process, Server, Signal, Tree, eventually};

const LIMIT: Duration = Duration::from_secs(10);

fn call(server: &Server) {
    Caller::new(server, Dialect::Modern).call("changes.active", json!({})).ok();
}

/// From now on the process cannot open anything; what it was allowed before.
fn forbid_descriptors(process: Process) -> Rlimit {
    let open = |number: &u64| fs::symlink_metadata(format!("/proc/{}/fd/{number}", process.pid)).is_ok();
    let lowest = (0..).find(|number| !open(number));
    limit_descriptors(process, Rlimit { current: lowest, maximum: Some(20_000) })
}

fn limit_descriptors(process: Process, limit: Rlimit) -> Rlimit {
    prlimit(Pid::from_raw(process.pid), Resource::Nofile, limit).expect("a process of ours may be limited")
}

#[test]
fn processes_without_descriptors_take_settings_over() {
    let tree = Tree::new();
    let settings = |body_bytes: u32| format!("limits.body_bytes = {body_bytes}\n");
    let server = Server::build(tree.root()).settings(&settings(5_000)).start();
    let mut control = Control::new(&server);
    let pids = control.status().pids();
    let mut processes = server.wait_workers(2, &[]);
    processes.extend(server.admin_process());
    let usual: Vec<_> = processes.iter().map(|process| (*process, forbid_descriptors(*process))).collect();
    for body_bytes in [4_000, 3_000, 2_000] {
        server.write_settings(&settings(body_bytes));
        let (done, told) = control.order("reload");
        assert!(done, "{told}");
    }
    for (process, limit) in usual {
        limit_descriptors(process, limit);
    }
    call(&server);
    let status = control.status();
    assert_eq!((status.pids(), status.is_whole(2)), (pids, true), "nobody had to leave: {status:?}");
}

#[test]
fn a_worker_without_descriptors_that_is_to_adopt_stays_and_adopts_when_it_can() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let mut control = Control::new(&server);
    let workers = server.wait_workers(2, &[]);
    let (stuck, sound) = (workers[0], workers[1]);
    let usual = forbid_descriptors(sound);
    stuck.signal(Signal::SIGSTOP);
    // Within the 150 ms before it is parked: what comes now waits in its queue.
    let deadline = Instant::now() + LIMIT;
    while !stuck.is_wholly_stopped() {
        assert!(Instant::now() < deadline, "it stops");
    }
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let mut client = TcpStream::connect(server.address()).unwrap();
            client.set_read_timeout(Some(LIMIT)).unwrap();
            client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
            client
        })
        .collect();
    eventually(LIMIT, "the worker was told to adopt and could not", || {
        server.stderr().contains("A connection of another slot could not be accepted.").then_some(())
    });
    limit_descriptors(sound, usual);
    for mut client in clients {
        let mut text = String::new();
        let read = client.read_to_string(&mut text);
        assert!(read.is_ok() && text.starts_with("HTTP/1.1 200"), "{read:?} {text}");
    }
    stuck.signal(Signal::SIGCONT);
    eventually(LIMIT, "all is well", || control.status().is_whole(2).then_some(()));
    assert!(sound.is_alive() && !server.stderr().contains("The supervisor is gone"));
}

#[test]
fn a_process_that_boots_for_long_is_not_told_about_its_log_until_it_is_ready() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).fixture().start();
    let mut control = Control::new(&server);
    server.set_faults("boot_delay_ms = 3000\n");
    let victim = server.kill_worker();
    let workers = server.wait_workers(2, &[victim]);
    // Far more than the buffer of a link takes.
    for _ in 0..1_000 {
        assert_eq!(control.ask(&json!({"command": "log_level", "level": "error"}))["result"], "done");
    }
    assert_eq!(control.ask(&json!({"command": "log_level", "level": "debug"}))["result"], "done");
    server.signal(Signal::SIGUSR1);
    assert!(!control.status().is_whole(2), "it still boots");
    eventually(LIMIT, "it is ready", || control.status().is_whole(2).then_some(()));
    assert_eq!(server.workers(), workers, "it was left alone");
    let log = eventually(LIMIT, "it has heard of the level", || {
        let log = server.stderr();
        (log.rfind("The log level was changed.") > log.rfind("A process is ready.")).then_some(log)
    });
    assert!(!log.contains("could not be told"), "{log}");
}

#[test]
fn the_signals_of_a_terminal_stop_neither_a_worker_nor_the_admin_process() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let processes: Vec<Process> = server.wait_workers(2, &[]).into_iter().chain(server.admin_process()).collect();
    assert_eq!(processes.len(), 3);
    for signal in [Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGTSTP] {
        for process in &processes {
            process.signal(signal);
        }
        // A signal that stops does so when the process runs next, and these do every 50 ms.
        for _ in 0..20 {
            assert!(processes.iter().all(|process| process.is_alive() && !process.is_stopped()), "{signal}");
            thread::sleep(Duration::from_millis(10));
        }
        (0..10).for_each(|_| call(&server));
        server.metrics();
        // A terminal asks the kernel whether the signal would stop the writer: it must be ignored or blocked, never caught,
        // or the write is tried again for ever (tcsetattr(3) and TOSTOP in termios(3)).
        for process in &processes {
            assert!(is_ignored_or_blocked(*process, signal), "{signal} {process:?}");
        }
    }
}

/// Whether every thread has the signal ignored or blocked; `SigIgn` and `SigBlk` in proc_pid_status(5).
fn is_ignored_or_blocked(process: Process, signal: Signal) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", process.pid)).unwrap().flatten();
    let mut statuses = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    statuses.all(|status| {
        let mask = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        (mask("SigIgn:") | mask("SigBlk:")) >> (signal as i32 - 1) & 1 == 1
    })
}

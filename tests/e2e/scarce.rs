//! What the system does not give: descriptors run out, `/proc` is hidden, a dead instance left its files.

use std::{
    fs,
    net::TcpStream,
    os::unix::{fs::FileTypeExt, net::UnixListener},
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::support::{Caller, Control, Dialect, Server, Signal, Tree, Usage, eventually, finish};

/// Sets how many descriptors a process may have, and tells what it was.
fn limit_descriptors(pid: i32, limit: Rlimit) -> Rlimit {
    prlimit(Pid::from_raw(pid), Resource::Nofile, limit).expect("a process of ours may be limited")
}

/// The soft and the hard limit of a process, as the kernel tells them (proc_pid_limits(5)).
fn descriptors_allowed(pid: i32) -> (String, String) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("a live process has limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("it is there");
    let mut words = line.split_whitespace().skip(3).map(str::to_owned);
    (words.next().expect("the soft one"), words.next().expect("the hard one"))
}

#[test]
fn every_process_takes_as_many_descriptors_as_the_system_allows() {
    let tree = Tree::new();
    let few = ["sh", "-c", "ulimit -S -n 256 && ulimit -H -n 3000 && exec \"$0\" \"$@\""];
    let server = Server::build(tree.root()).through(&few).start();
    let processes = server.workers().into_iter().map(|worker| worker.pid).chain([server.pid()]);
    for pid in processes {
        assert_eq!(descriptors_allowed(pid), ("3000".to_owned(), "3000".to_owned()));
    }
}

fn call(server: &Server) {
    Caller::new(server, Dialect::Modern).call("changes.active", json!({})).ok();
}

#[test]
fn a_supervisor_without_descriptors_starts_nothing_serves_on_and_recovers() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let mut control = Control::new(&server);
    // A new process takes several descriptors; exactly those in use are allowed.
    let used = Usage::of(server.pid()).descriptors as u64;
    let usual = limit_descriptors(server.pid(), Rlimit { current: Some(used), maximum: Some(20_000) });
    let victim = server.kill_worker();
    eventually(Duration::from_secs(10), "the log says what could not be done", || {
        let log = server.stderr();
        (log.contains("A process could not be started.") && log.contains("Too many open files")).then_some(())
    });
    (0..20).for_each(|_| call(&server));
    assert_eq!(control.status().workers().iter().filter(|slot| slot.state() == "live").count(), 1);
    server.metrics();
    limit_descriptors(server.pid(), usual);
    eventually(Duration::from_secs(40), "the worker is replaced", || {
        let status = control.status();
        (status.is_whole(2) && status.slot_of(victim.pid).is_none()).then_some(())
    });
    (0..20).for_each(|_| call(&server));
    let told = server.stderr().matches("Too many open files").count();
    assert!(told < 100, "the log is not flooded: {told} lines");
}

#[test]
fn workers_without_descriptors_say_so_and_serve_again_when_clients_leave() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let mut control = Control::new(&server);
    for worker in server.wait_workers(2, &[]) {
        let used = Usage::of(worker.pid).descriptors as u64;
        limit_descriptors(worker.pid, Rlimit { current: Some(used + 10), maximum: Some(20_000) });
    }
    let crowd: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    eventually(Duration::from_secs(10), "the log says what is missing", || {
        server.stderr().contains("Too many open files").then_some(())
    });
    let status = control.status();
    assert!(status.is_whole(2) && status.sum("waiting") > 0, "they live, and who is not accepted waits: {status:?}");
    server.metrics();
    drop(crowd);
    (0..20).for_each(|_| call(&server));
    assert_eq!(control.status().sum("restarts"), 0, "nobody died of it");
    let told = server.stderr().matches("Too many open files").count();
    assert!(told < 500, "the log is not flooded: {told} lines");
}

#[test]
fn files_of_a_dead_instance_are_in_nobodys_way() {
    let tree = Tree::new();
    let server = Server::build(tree.root()).start();
    let run = server.folder().join("run");
    server.survivors();
    crate::support::signal(server.pid(), Signal::SIGKILL);
    eventually(Duration::from_secs(10), "all of it has ended", || server.survivors().is_empty().then_some(()));
    let socket = run.join("control.sock");
    assert!(socket.symlink_metadata().unwrap().file_type().is_socket(), "a killed supervisor leaves its socket");
    // The lock names a process that lives and has nothing to do with it: pids are used again.
    fs::write(run.join("instance.lock"), "1\n").unwrap();
    let next = Server::build(tree.root()).set("supervisor.runtime_dir", run.display()).start();
    call(&next);
    let lock = fs::read_to_string(run.join("instance.lock")).unwrap();
    assert_eq!(lock.trim(), next.pid().to_string());
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok(), "the new one listens there");
    drop(next);

    // What belongs to a living program, or is no socket, is left alone and named.
    let refused = || Server::build(tree.root()).set("supervisor.runtime_dir", run.display()).start_refused();
    let living = UnixListener::bind(&socket).unwrap();
    let (code, stderr) = refused();
    assert!(code == 69 && stderr.contains("control.sock"), "{code} {stderr}");
    drop(living);
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "precious").unwrap();
    let (code, stderr) = refused();
    assert!(code == 78 && stderr.contains("control.sock"), "{code} {stderr}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

/// Whether this user may make mounts of its own; says so loudly if not.
fn may_mount() -> bool {
    let mut probe = Command::new("unshare");
    probe.args(["-m", "mount", "-t", "tmpfs", "none", "/proc"]);
    let allowed = finish(probe, Duration::from_secs(5)).code == 0;
    if !allowed {
        eprintln!("SKIPPED: this user may not mount anything, so /proc cannot be hidden; run as root");
    }
    allowed
}

/// Runs a command in the mounts of a process.
fn beside(pid: i32, command: &[&str]) {
    let mut enter = Command::new("nsenter");
    enter.args(["-m", "-t", &pid.to_string()]).args(command);
    let done = finish(enter, Duration::from_secs(5));
    assert_eq!(done.code, 0, "{command:?}: {}", done.stderr);
}

#[test]
fn a_hidden_proc_is_told_and_harms_nobody_and_is_no_more_when_it_comes_back() {
    if !may_mount() {
        return;
    }
    let tree = Tree::new();
    let server = Server::build(tree.root()).through(&["unshare", "-m"]).start();
    let mut control = Control::new(&server);
    beside(server.pid(), &["mount", "-t", "tmpfs", "none", "/proc"]);
    let victim = server.kill_worker();
    // A process is started by its name in `/proc` (the file itself may have been replaced since), so there is no successor yet.
    eventually(Duration::from_secs(10), "the log says why there is no successor", || {
        server.stderr().contains("A process could not be started.").then_some(())
    });
    assert!(control.status().slot_of(victim.pid).is_none() && !control.status().is_whole(2));
    (0..20).for_each(|_| call(&server));
    server.metrics();
    // Without schedstat a hung worker is found all the same.
    let silent = server.workers()[0];
    silent.signal(Signal::SIGSTOP);
    eventually(Duration::from_secs(10), "it is parked", || {
        let status = control.status();
        let slot = status.slot_of(silent.pid).expect("it is stopped and keeps its slot until it was parked");
        (slot.state() == "parked").then_some(())
    });
    silent.signal(Signal::SIGCONT);
    beside(server.pid(), &["umount", "/proc"]);
    eventually(Duration::from_secs(40), "all is well", || control.status().is_whole(2).then_some(()));
    (0..20).for_each(|_| call(&server));
}

#[test]
fn a_start_without_proc_is_refused_with_the_reason_or_works() {
    if !may_mount() {
        return;
    }
    let tree = Tree::new();
    // What `ProcSubset=pid` and `ProtectProc=invisible` of a service manager do.
    let subset = "mount -t proc -o subset=pid,hidepid=invisible none /proc && exec \"$@\"";
    let server = Server::build(tree.root()).through(&["unshare", "-m", "sh", "-c", subset, "sh"]).start();
    (0..20).for_each(|_| call(&server));
    drop(server);
    let nothing = "mount -t tmpfs none /proc && exec \"$@\"";
    let (code, stderr) =
        Server::build(tree.root()).through(&["unshare", "-m", "sh", "-c", nothing, "sh"]).start_refused();
    assert!(code != 0 && stderr.contains("/proc"), "{code} {stderr}");
}

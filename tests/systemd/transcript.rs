//! Every message of sd_notify(3), in order, as a service manager hears it.

use std::{
    fs,
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::support::{Server, Signal, Tree, eventually, run_alone, signal};

/// Until a message comes; far above what any promise allows.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    /// The messages up to this line, which the last of them begins with. Those that only repeat are left out: signs of life, requests
    /// for more time, changed status texts.
    fn until(&self, last: &str) -> Vec<String> {
        let mut heard = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut bytes = [0; 4096];
            let message = match self.socket.recv(&mut bytes) {
                Ok(length) => String::from_utf8(bytes[..length].to_vec()).unwrap(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => String::new(),
                Err(error) => panic!("{error}"),
            };
            assert!(Instant::now() < deadline, "{last} did not come after {heard:#?}");
            let repeats = ["WATCHDOG=1", "EXTEND_TIMEOUT_USEC=", "STATUS="].iter().any(|one| message.starts_with(one));
            if !message.is_empty() && (!repeats || message.starts_with(last)) {
                // The time is the only thing that differs from run to run.
                let stable: Vec<&str> =
                    message.lines().map(|line| line.split_once("USEC=").map_or(line, |(name, _)| name)).collect();
                heard.push(stable.join(" "));
                if message.starts_with(last) {
                    return heard;
                }
            }
        }
    }

    /// Whether a message like this comes within a time.
    fn hears(&self, wanted: &str, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut bytes = [0; 4096];
        while Instant::now() < deadline {
            if self.socket.recv(&mut bytes).is_ok_and(|length| bytes[..length].starts_with(wanted.as_bytes())) {
                return true;
            }
        }
        false
    }
}

fn start(with_faults: bool) -> (Tree, Manager, Server) {
    let (tree, folder) = (Tree::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let server = Server::build(tree.root()).through(&["env", &variable, "WATCHDOG_USEC=1000000"]);
    let server = if with_faults { server.fixture() } else { server }.start();
    (tree, Manager { socket, folder }, server)
}

/// Asks for a rolling restart and waits for its end: the exit code.
fn restart(server: &Server) -> thread::JoinHandle<i32> {
    let (folder, socket) = (server.folder().to_owned(), server.folder().join("run/control.sock"));
    thread::spawn(move || run_alone(&folder, &["ctl", "--socket", socket.to_str().unwrap(), "restart"]).code)
}

#[test]
fn start_restart_scale_and_stop_are_told_in_order() {
    let (_tree, manager, server) = start(false);
    let store = |name: &str| format!("FDSTORE=1 FDNAME={name}");
    assert_eq!(
        manager.until("READY=1"),
        [
            store("admin"),
            store("commons"),
            store("scoreboard"),
            store("slot-0"),
            store("slot-1"),
            "READY=1 STATUS=Serving: 2 of 2 workers live".to_owned()
        ]
    );
    let restart = restart(&server);
    assert_eq!(
        manager.until("READY=1"),
        [
            "RELOADING=1 MONOTONIC_ STATUS=Replacing the workers one by one: 2 of 2 workers live",
            "READY=1 STATUS=Serving: 2 of 2 workers live"
        ]
    );
    assert_eq!(restart.join().unwrap(), 0);
    server.signal(Signal::SIGHUP);
    assert_eq!(
        manager.until("READY=1"),
        ["RELOADING=1 MONOTONIC_ STATUS=Reloading: 2 of 2 workers live", "READY=1 STATUS=Serving: 2 of 2 workers live"]
    );
    server.signal(Signal::SIGTTIN);
    assert_eq!(manager.until("STATUS=Serving: 3 of 3 workers live").first(), Some(&store("slot-2")));
    server.signal(Signal::SIGTTOU);
    assert_eq!(manager.until("FDSTOREREMOVE=1"), ["FDSTOREREMOVE=1 FDNAME=slot-2"]);
    server.terminate();
    assert_eq!(manager.until("STOPPING=1"), ["STOPPING=1 STATUS=Draining: 3 processes left"]);
    assert!(manager.hears("EXTEND_TIMEOUT_USEC=10000000", PATIENCE));
    assert_eq!(server.wait_exit(PATIENCE), 0);
}

#[test]
fn the_watchdog_is_fed_while_a_worker_lives_and_no_longer() {
    let (_tree, manager, server) = start(true);
    manager.until("READY=1");
    assert!(manager.hears("WATCHDOG=1", PATIENCE) && manager.hears("WATCHDOG=1", PATIENCE));
    // Their successors take longer to boot than the manager would wait.
    server.set_faults("boot_delay_ms = 3000");
    let workers = server.workers();
    workers.iter().for_each(|worker| worker.signal(Signal::SIGKILL));
    server.wait_workers(2, &workers);
    while manager.hears("", Duration::from_millis(20)) {}
    assert!(!manager.hears("WATCHDOG=1", Duration::from_secs(2)), "no worker lives");
    assert!(manager.hears("WATCHDOG=1", PATIENCE));
    // A loop that does not run feeds nobody.
    signal(server.pid(), Signal::SIGSTOP);
    while manager.hears("", Duration::from_millis(20)) {}
    let fed = manager.hears("WATCHDOG=1", Duration::from_secs(2));
    signal(server.pid(), Signal::SIGCONT);
    assert!(!fed && manager.hears("WATCHDOG=1", PATIENCE));
}

#[test]
fn processes_are_told_nothing_of_the_service_manager() {
    let (_tree, manager, server) = start(false);
    manager.until("READY=1");
    let children: Vec<_> = server.workers().into_iter().chain(server.admin_process()).collect();
    assert_eq!(children.len(), 3);
    for child in children {
        let environment = fs::read(format!("/proc/{}/environ", child.pid)).unwrap();
        let text = String::from_utf8_lossy(&environment).into_owned();
        assert!(text.contains("PATH=") && !text.contains("NOTIFY_SOCKET") && !text.contains("WATCHDOG"), "{text}");
    }
}

#[test]
fn a_service_manager_that_reads_nothing_holds_nobody_up() {
    let (_tree, manager, server) = start(false);
    // Its queue is full after a few messages, and it is never emptied.
    eventually(PATIENCE, "a full queue", || {
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        sender.send_to(b"X", manager.folder.path().join("notify")).is_err().then_some(())
    });
    let before = server.workers();
    assert_eq!(restart(&server).join().unwrap(), 0);
    server.wait_workers(2, &before);
    server.terminate();
    assert_eq!(server.wait_exit(PATIENCE), 0);
    drop(manager);
    assert!(server.stderr().contains("The service manager could not be told"), "{}", server.stderr());
}

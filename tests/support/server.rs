//! A running server: its processes, its end, and the proof that nothing survives.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt as _},
    path::Path,
    process::{Child, ExitStatus},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use task_mcp_bench::{Request, Response, fetch};
use tempfile::TempDir;

use super::{
    builder::{COUNTS, FAULTS, ServerBuilder, install},
    command::program,
    metrics::Metrics,
    process::{Process, Signal, signal},
    wait::eventually,
};

/// Limit for one request of a test; far above what any promise allows.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// Until a server at the end of a test has stopped by itself.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A running server of two workers. It is stopped at the end of the test, which fails if a process survives.
pub struct Server {
    child: Mutex<Child>,
    status: Mutex<Option<ExitStatus>>,
    /// Every process seen below the supervisor so far; some are orphans by the time they must be ended.
    seen: Mutex<BTreeSet<Process>>,
    folder: TempDir,
    address: SocketAddr,
    admin_address: SocketAddr,
}

impl Server {
    /// A server for this tree.
    pub fn build(root: &Path) -> ServerBuilder {
        Self::bare().argument("--root").argument(&root.display().to_string())
    }

    /// A server with no tree named.
    pub fn bare() -> ServerBuilder {
        ServerBuilder::new()
    }

    /// A server that has printed its addresses.
    pub(super) fn new(child: Child, folder: TempDir, address: SocketAddr, admin_address: SocketAddr) -> Self {
        let (child, status, seen) = (Mutex::new(child), Mutex::default(), Mutex::default());
        Self { child, status, seen, folder, address, admin_address }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint that clients are given.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The folder with this server's `run`, `state` and logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has printed.
    pub fn stdout(&self) -> String {
        read(&self.folder.path().join("stdout"))
    }

    /// What it has logged.
    pub fn stderr(&self) -> String {
        read(&self.folder.path().join("stderr"))
    }

    /// What workers that start from now on do wrong on purpose: a TOML table with the fields of `task_mcp::Faults`; empty =
    /// nothing. The fixture's binary only.
    pub fn set_faults(&self, toml: &str) {
        // Renamed into place, so that no process reads half of it.
        let whole = self.folder.path().join("faults.new");
        fs::write(&whole, toml).and_then(|()| fs::rename(&whole, self.folder.path().join(FAULTS))).expect("writable");
    }

    /// How often a counted tool of the fixture has run in all processes of this server: `<tool>.<key>` for runs that have begun,
    /// with `.done` for those that have ended.
    pub fn runs(&self, name: &str) -> usize {
        runs_in(self.folder(), name)
    }

    /// Puts another settings file in the place of the one the server was started with.
    pub fn write_settings(&self, toml: &str) {
        fs::write(self.folder.path().join("settings.toml"), toml).expect("settings are writable");
    }

    /// Puts the server's program, or the fixture's, in the place of the one that was [installed](ServerBuilder::installed).
    pub fn install(&self, fixture: bool) {
        install(Path::new(program(fixture, self.folder.path()).get_program()), self.folder.path());
    }

    /// Puts a script in its place.
    pub fn install_script(&self, text: &str) {
        let script = self.folder.path().join("script");
        fs::write(&script, text).expect("a script is writable");
        fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("it is ours");
        install(&script, self.folder.path());
        fs::remove_file(&script).expect("it is ours");
    }

    /// One request over a connection of its own; a missing answer fails the test.
    pub fn send(&self, request: &Request) -> Response {
        fetch(self.address, request, REQUEST_LIMIT).unwrap_or_else(|failure| panic!("{request:?}: {failure}"))
    }

    /// `GET` of a path of the public listener.
    pub fn get(&self, path: &str) -> Response {
        self.send(&Request::new("GET", path))
    }

    /// One scrape; `None` while the admin process does not answer.
    pub fn try_metrics(&self) -> Option<Metrics> {
        let answer = fetch(self.admin_address, &Request::new("GET", "/metrics"), Duration::from_secs(2)).ok()?;
        (answer.status == 200).then(|| Metrics::parse(&answer.text()))
    }

    /// One scrape.
    pub fn metrics(&self) -> Metrics {
        self.try_metrics().expect("the admin process answers")
    }

    /// Waits until exactly this many requests are being served.
    pub fn wait_in_flight(&self, count: usize) {
        eventually(STOP_LIMIT, &format!("{count} requests are in flight"), || {
            let in_flight = self.try_metrics()?.sum("task_mcp_http_requests_in_flight", &[]);
            (in_flight == count as f64).then_some(())
        });
    }

    /// Process id of the supervisor.
    pub fn pid(&self) -> i32 {
        self.child.lock().expect("no test panicked here").id().try_into().expect("pids fit")
    }

    /// The live workers, in order of their pids.
    pub fn workers(&self) -> Vec<Process> {
        self.children().into_iter().filter(|process| process.is_called("worker")).collect()
    }

    /// The live admin process.
    pub fn admin_process(&self) -> Option<Process> {
        self.children().into_iter().find(|process| process.is_called("admin"))
    }

    /// Kills one worker as a crash would, and says which.
    pub fn kill_worker(&self) -> Process {
        let victim = eventually(STOP_LIMIT, "a worker lives", || self.workers().first().copied());
        victim.signal(Signal::SIGKILL);
        victim
    }

    /// Waits until there are this many workers, none of them `without`.
    pub fn wait_workers(&self, count: usize, without: &[Process]) -> Vec<Process> {
        eventually(STOP_LIMIT, "all workers live again", || {
            let workers = self.workers();
            (workers.len() == count && without.iter().all(|gone| !workers.contains(gone))).then_some(workers)
        })
    }

    /// Asks the supervisor to stop.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends the supervisor a signal, having noted its children.
    pub fn signal(&self, signal_to_send: Signal) {
        self.children();
        if self.poll_exit().is_none() {
            signal(self.pid(), signal_to_send);
        }
    }

    /// The exit status, which must come within the deadline; 128 and more for a signal.
    pub fn wait_exit(&self, deadline: Duration) -> i32 {
        let status = eventually(deadline, "the server ends", || self.poll_exit());
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    }

    /// Processes of this server that still live.
    pub fn survivors(&self) -> Vec<Process> {
        self.children();
        let seen = self.seen.lock().expect("no test panicked here");
        seen.iter().copied().filter(|process| process.is_alive()).collect()
    }

    fn poll_exit(&self) -> Option<ExitStatus> {
        let mut status = self.status.lock().ok()?;
        if status.is_none() {
            *status = self.child.lock().ok()?.try_wait().ok()?;
        }
        *status
    }

    fn children(&self) -> Vec<Process> {
        if self.poll_exit().is_some() {
            return Vec::new();
        }
        let children = Process::children_of(self.pid());
        self.seen.lock().expect("no test panicked here").extend(&children);
        children
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the server's log\n{}", self.stderr());
        }
        self.terminate();
        let started = Instant::now();
        let mut asked = 1;
        while (self.poll_exit().is_none() || !self.survivors().is_empty()) && started.elapsed() < STOP_LIMIT {
            if asked == 1 && started.elapsed() > STOP_LIMIT / 2 {
                self.terminate(); // a test that failed may leave a long call behind: now
                asked = 2;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let stopped = self.poll_exit().is_some();
        let survivors = self.survivors();
        self.signal(Signal::SIGKILL);
        survivors.iter().for_each(|process| process.signal(Signal::SIGKILL));
        if let Ok(mut child) = self.child.lock() {
            let _ = child.wait();
        }
        let clean = stopped && survivors.is_empty();
        assert!(
            clean || thread::panicking(),
            "after {STOP_LIMIT:?} the supervisor had stopped: {stopped}, alive: {survivors:?}"
        );
    }
}

/// The same for servers that [share](ServerBuilder::shared) a folder.
pub fn runs_in(folder: &Path, name: &str) -> usize {
    fs::metadata(folder.join(COUNTS).join(name)).map_or(0, |file| file.len().try_into().expect("it fits"))
}

/// The text of a file that may not be there yet.
pub(super) fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

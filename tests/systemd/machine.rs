//! A systemd that lives as long as its test.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use task_mcp_bench::{Plan, Report, Request, Reuse, fetch, run};
use tempfile::TempDir;

use crate::support::{Process, Signal, eventually, finish, modern_call};

/// Until systemd is up, on a busy machine.
const BOOT_LIMIT: Duration = Duration::from_secs(30);
/// For one command inside; a stop may take the whole drain.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// The service's endpoint, as it is installed.
pub const ENDPOINT: &str = "127.0.0.1:8443";

/// A booted systemd with the service installed. Everything in it ends with the value, or with the test's thread.
pub struct Machine {
    dir: TempDir,
    name: String,
    boot: Child,
    init: Option<i32>,
}

/// Whether this host allows it; a host that does not is told of.
fn is_allowed() -> bool {
    let mut probe = Command::new(script());
    probe.arg("probe");
    let probed = finish(probe, COMMAND_LIMIT);
    if probed.code == 0 {
        return true;
    }
    assert_eq!(probed.code, 77, "{}{}", probed.stdout, probed.stderr);
    eprintln!("SKIPPED: the service under a real systemd, because {}", probed.stdout.trim());
    false
}

/// Whether a process is process 1 of a namespace below ours: the script has short-lived children, too.
fn is_first(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    // The numbers it has in each namespace, ours first (proc_pid_status(5)).
    line.is_some_and(|pids| pids.split_whitespace().nth(1).is_some() && pids.ends_with("\t1"))
}

fn script() -> PathBuf {
    project().join("tests/systemd/boot.sh")
}

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl Machine {
    /// A machine with the service installed and not started; `None` where the host forbids it.
    pub fn boot() -> Option<Self> {
        if !is_allowed() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let name = format!("task-mcp-test.{}", std::process::id());
        // Whatever ends the test's thread ends systemd, and with process 1 everything inside.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount"]).arg(script()).arg("run").arg(dir.path()).arg(&name);
        let output = || File::create(dir.path().join("output")).unwrap();
        let boot = command.stdin(Stdio::null()).stdout(output()).stderr(output()).spawn().unwrap();
        let mut machine = Self { dir, name, boot, init: None };
        let init = eventually(BOOT_LIMIT, "process 1 of the namespaces", || {
            let ended = machine.boot.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?} {}", fs::read_to_string(machine.dir.path().join("output")).unwrap());
            let children = Process::children_of(machine.boot.id().cast_signed());
            children.into_iter().map(|process| process.pid).find(|pid| is_first(*pid))
        });
        machine.init = Some(init);
        eventually(BOOT_LIMIT, "systemd is up", || {
            assert!(machine.boot.try_wait().unwrap().is_none(), "{}", machine.console());
            let state = machine.run(&["systemctl", "is-system-running"]).0;
            ["running", "degraded"].contains(&state.trim()).then_some(())
        });
        machine.install();
        Some(machine)
    }

    /// The steps of docs/systemd.md.
    fn install(&self) {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_task-mcp"));
        // The same server with tools whose cost is known.
        let binary = binary.with_file_name("task-mcp-fixture");
        assert!(binary.exists(), "{} is missing; build the workspace first (scripts/test does)", binary.display());
        let shipped = project().join("systemd");
        self.put(&binary, "755", "/usr/bin/task-mcp");
        self.put(&shipped.join("task-mcp.service"), "644", "/usr/lib/systemd/system/task-mcp.service");
        self.put(&shipped.join("task-mcp.sysusers"), "644", "/usr/lib/sysusers.d/task-mcp.conf");
        self.put(&shipped.join("task-mcp.tmpfiles"), "644", "/usr/lib/tmpfiles.d/task-mcp.conf");
        self.put(&shipped.join("task-mcp.env"), "600", "/etc/task-mcp/task-mcp.env");
        self.ok(&["systemd-sysusers", "task-mcp.conf"]);
        self.ok(&["systemd-tmpfiles", "--create", "task-mcp.conf"]);
        // systemd forgets what became of a unit that is stopped, unless another one names it.
        self.ok(&["mkdir", "-p", "/run/systemd/system/test.target.d"]);
        self.write("[Unit]\nAfter=task-mcp.service\n", "/run/systemd/system/test.target.d/remember.conf");
        self.ok(&["systemctl", "daemon-reload"]);
    }

    /// Two workers, and what else the test sets, in the form of the settings file.
    pub fn settings(&self, more: &str) {
        let text = format!("[store]\nroot = \"/srv/task-mcp\"\n[server]\nworkers = 2\n{more}");
        self.write(&text, "/etc/task-mcp/task-mcp.toml");
    }

    /// A drop-in for the unit.
    pub fn drop_in(&self, text: &str) {
        self.ok(&["mkdir", "-p", "/etc/systemd/system/task-mcp.service.d"]);
        self.write(text, "/etc/systemd/system/task-mcp.service.d/test.conf");
        self.ok(&["systemctl", "daemon-reload"]);
    }

    /// Writes over a file that exists, or makes one.
    pub fn write(&self, text: &str, path: &str) {
        let source = self.dir.path().join("text");
        fs::write(&source, text).unwrap();
        let mut command = self.inside(&["tee", path]);
        command.stdin(File::open(source).unwrap());
        assert_eq!(finish(command, COMMAND_LIMIT).code, 0, "{path}");
    }

    fn put(&self, source: &Path, mode: &str, path: &str) {
        let mut command = self.inside(&["install", "-D", "-m", mode, "/dev/stdin", path]);
        command.stdin(File::open(source).unwrap());
        let done = finish(command, COMMAND_LIMIT);
        assert_eq!(done.code, 0, "{path}: {}", done.stderr);
    }

    /// Runs a command inside; it must succeed. Its standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let (stdout, stderr, code) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}\n{}\n{}", self.journal(), self.console());
        stdout
    }

    /// Runs a command inside: standard output, standard error, exit code.
    pub fn run(&self, arguments: &[&str]) -> (String, String, i32) {
        let done = finish(self.inside(arguments), COMMAND_LIMIT);
        (done.stdout, done.stderr, done.code)
    }

    fn inside(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        let init = self.init.expect("it is booted").to_string();
        command.args(["-t", &init, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"]).args(arguments);
        command.env_clear().stdin(Stdio::null());
        command.envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("SYSTEMD_PAGER", "cat"), ("SYSTEMD_COLORS", "0")]);
        command
    }

    /// A property of the service, as `systemctl show` knows it.
    pub fn property(&self, name: &str) -> String {
        self.ok(&["systemctl", "show", "-P", name, "task-mcp"]).trim().to_owned()
    }

    /// Waits until a property of the service is as wanted.
    pub fn wait_property(&self, name: &str, wanted: &str) {
        let mut last = String::new();
        for _ in 0..300 {
            last = self.property(name);
            if last == wanted {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{name} is {last:?}, not {wanted:?}\n{}", self.journal());
    }

    /// The log of the service, systemd's lines about it among them.
    pub fn journal(&self) -> String {
        self.run(&["journalctl", "--no-pager", "-o", "cat", "-u", "task-mcp"]).0
    }

    /// What systemd says where it finds no journal.
    fn console(&self) -> String {
        ["output", "console"].map(|file| fs::read_to_string(self.dir.path().join(file)).unwrap_or_default()).concat()
    }

    /// The processes of the service, by the numbers they have outside.
    pub fn processes(&self) -> Vec<Process> {
        let group = "sys/fs/cgroup/system.slice/task-mcp.service/cgroup.procs";
        let list = fs::read_to_string(Path::new(&format!("/proc/{}/root", self.init.unwrap())).join(group));
        let pids: Vec<i32> = list.unwrap_or_default().lines().filter_map(|pid| pid.parse().ok()).collect();
        // Supervisors and orphans are children of process 1, all others children of a supervisor.
        let first = Process::children_of(self.init.unwrap());
        let second = first.iter().flat_map(|process| Process::children_of(process.pid));
        let all: BTreeSet<Process> = first.iter().copied().chain(second).collect();
        all.into_iter().filter(|process| pids.contains(&process.pid)).collect()
    }

    /// The supervisor.
    pub fn supervisor(&self) -> Process {
        // A process about to become a worker has its command line too, but not its parent.
        let children = || Process::children_of(self.init.unwrap());
        eventually(BOOT_LIMIT, "a supervisor", || {
            let started = children();
            self.called("serve").into_iter().find(|process| started.contains(process))
        })
    }

    /// The workers, orphans among them.
    pub fn workers(&self) -> Vec<Process> {
        self.called("worker")
    }

    fn called(&self, word: &str) -> Vec<Process> {
        self.processes().into_iter().filter(|process| process.is_called(word)).collect()
    }

    /// The listening sockets that a process holds, by their inodes.
    pub fn listening(&self, process: Process) -> BTreeSet<String> {
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", process.pid)).unwrap();
        // The fourth column is the state, 0A = listening, the tenth the inode (proc(5)).
        let all = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let listening: BTreeSet<String> =
            all.filter(|row| row[3] == "0A").map(|row| format!("socket:[{}]", row[9])).collect();
        let fds = fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap().flatten();
        let held = fds.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_str()?.to_owned()));
        held.filter(|link| listening.contains(link)).collect()
    }

    /// Runs something in the network of the machine.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.init.unwrap())).unwrap();
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(network, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Calls a tool once, over a new connection.
    pub fn call(&self) -> String {
        let request = modern_call("changes.active", serde_json::json!({}));
        let answer = self.within(|| fetch(address(), &request, Duration::from_secs(15)));
        answer.unwrap_or_else(|failure| panic!("{failure}\n{}", self.journal())).text()
    }

    /// The sum of a counter over its labels, on a scrape; 0 while the admin process does not answer.
    pub fn counted(&self, name: &str) -> u64 {
        let (address, request) = ("127.0.0.1:9464".parse().unwrap(), Request::new("GET", "/metrics"));
        let Ok(answer) = self.within(|| fetch(address, &request, Duration::from_secs(15))) else { return 0 };
        let text = answer.text();
        let samples = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} "));
        samples.map(|(_, value)| value.parse::<f64>().unwrap() as u64).sum()
    }

    /// Does something while requests come; tells what became of them.
    pub fn under_load(&self, plan: &Plan, work: impl FnOnce()) -> Report {
        thread::scope(|scope| {
            let load = scope.spawn(|| self.within(|| run(plan).unwrap()));
            let stop = StopOnDrop(&plan.control);
            eventually(BOOT_LIMIT, "the load runs", || (plan.control.finished() >= 50).then_some(()));
            work();
            let before = plan.control.finished();
            eventually(BOOT_LIMIT, "the load goes on", || (plan.control.finished() >= before + 50).then_some(()));
            drop(stop);
            load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Ends the load also when the test fails.
struct StopOnDrop<'a>(&'a task_mcp_bench::Control);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Requests at a fixed rate; every other one takes its time, so that some are always in flight.
pub fn load(reuse: Reuse) -> Plan {
    let mut plan = Plan::new(address(), modern_call("changes.active", serde_json::json!({})));
    plan.requests.push(modern_call("test_sleep", serde_json::json!({"ms": 200})));
    plan.connections = 64;
    plan.pace = task_mcp_bench::Pace::Open { per_s: 300.0 };
    plan.reuse = reuse;
    plan.max_duration = Duration::from_secs(60);
    plan.expect = Some("\"structuredContent\"".to_owned());
    plan
}

pub fn address() -> SocketAddr {
    ENDPOINT.parse().unwrap()
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() && self.init.is_some() {
            eprintln!("{}", self.journal());
        }
        // The end of process 1 is the end of all others of its namespace.
        self.init.into_iter().for_each(|init| crate::support::signal(init, Signal::SIGKILL));
        let _ = self.boot.kill();
        let _ = self.boot.wait();
        let mut clean = Command::new("unshare");
        clean.arg("--mount").arg(script()).arg("clean").arg(self.dir.path()).arg(&self.name);
        // The last process leaves its control group a little after it was reaped.
        for _ in 0..50 {
            if clean.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

//! Starts the server and reads its banner.

use std::{
    fmt::Display,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    command::program,
    process::{Process, Signal},
    server::{Server, read},
};

/// A debug build on a busy machine of two cores; the promise itself has a test of its own.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The file of faults in the server's folder; every process reads it when it starts.
pub(super) const FAULTS: &str = "faults.toml";
/// What the fixture's tools leave behind: the variable that names a folder, and its name.
const SHARED: [(&str, &str); 2] = [("TASK_MCP_FIXTURE_COUNTS", COUNTS), ("TASK_MCP_FIXTURE_REGISTERS", "registers")];
/// The folder with the marks of counted runs.
pub(super) const COUNTS: &str = "counts";
/// The program in the server's folder, if it was installed there.
const PROGRAM: &str = "program";

/// How a server is to be started.
pub struct ServerBuilder {
    fixture: bool,
    arguments: Vec<String>,
    settings: String,
    wrapper: Vec<String>,
    /// Settings that the file decides about.
    by_file: Vec<&'static str>,
    /// The program is installed in the folder, where another can take its place.
    installed: bool,
    environment: Vec<(String, PathBuf)>,
    folder: TempDir,
}

impl ServerBuilder {
    /// A server without arguments of its own.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            fixture: false,
            arguments: Vec::new(),
            settings: String::new(),
            wrapper: Vec::new(),
            by_file: Vec::new(),
            installed: false,
            environment: Vec::new(),
            folder,
        }
    }

    /// The fixture's binary: the same server with tools whose cost and effects tests know.
    pub fn fixture(mut self) -> Self {
        self.fixture = true;
        self
    }

    /// One setting, as `--set` takes it; a later one wins.
    pub fn set(self, key: &str, value: impl Display) -> Self {
        self.argument("--set").argument(&format!("{key}={value}"))
    }

    /// The fixture's binary with this many workers, and room for all connections of a [load](super::Load).
    pub fn for_load(self, workers: usize) -> Self {
        self.fixture().set("server.workers", workers).set("limits.max_connections_per_ip", 1_000)
    }

    /// One more argument of `serve`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Settings as the text of a configuration file.
    pub fn settings(mut self, toml: &str) -> Self {
        self.settings.push_str(toml);
        self
    }

    /// The settings file, not an argument, decides about this key from now on; of those this builder sets.
    pub fn by_file(mut self, key: &'static str) -> Self {
        self.by_file.push(key);
        self
    }

    /// Where the fixture's tools count their runs and keep their registers, instead of the server's folder: for several servers
    /// that are to count together.
    pub fn shared(mut self, folder: &Path) -> Self {
        for (variable, name) in SHARED {
            self.environment.push((variable.to_owned(), folder.join(name)));
        }
        self
    }

    /// The program is started from the server's folder, where [`Server::install`] puts another one in its place.
    pub fn installed(mut self) -> Self {
        self.installed = true;
        self
    }

    /// What the workers do wrong on purpose, as [`Server::set_faults`] takes it; the fixture's binary has faults.
    pub fn faults(self, toml: &str) -> Self {
        fs::write(self.folder.path().join(FAULTS), toml).expect("faults are writable");
        self
    }

    /// Starts the server through another program, which must replace itself with it.
    pub fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Starts the server and waits until it prints its addresses.
    pub fn start(self) -> Server {
        match self.try_start() {
            Ok(server) => server,
            Err((status, stdout, stderr)) => panic!("the server ended with {status}\n{stdout}\n{stderr}"),
        }
    }

    /// Starts a server that must refuse to run: its exit status and standard error.
    pub fn start_refused(self) -> (i32, String) {
        match self.try_start() {
            Ok(server) => panic!("it serves at {}, but should have refused to start", server.url()),
            Err((status, _, stderr)) => (status.code().unwrap_or(-1), stderr),
        }
    }

    fn try_start(self) -> Result<Server, (ExitStatus, String, String)> {
        let folder = self.folder;
        let file = |name: &str| folder.path().join(name);
        fs::write(file("settings.toml"), &self.settings).expect("settings are writable");
        let log = |name| Stdio::from(File::create(file(name)).expect("logs are writable"));
        let mut command = program(self.fixture, folder.path());
        if self.installed {
            let from = PathBuf::from(command.get_program());
            install(&from, folder.path());
            let mut own = Command::new(file(PROGRAM));
            own.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            own.current_dir(folder.path()).stdin(Stdio::null());
            command = own;
        }
        command.arg("serve").arg("--config").arg(file("settings.toml"));
        for (key, value) in [
            ("server.listen", "127.0.0.1:0".into()),
            ("server.workers", "2".into()),
            ("admin.listen", "127.0.0.1:0".into()),
            ("supervisor.runtime_dir", file("run")),
            ("supervisor.state_dir", file("state")),
        ] {
            let value: PathBuf = value;
            if self.by_file.contains(&key) {
                continue;
            }
            command.arg("--set").arg(format!("{key}={}", value.display()));
        }
        command.args(&self.arguments).env("TASK_MCP_FIXTURE_FAULTS", file(FAULTS));
        command.envs(SHARED.map(|(variable, name)| (variable, file(name)))).envs(self.environment);
        let mut command = wrapped(command, &self.wrapper);
        command.stdout(log("stdout")).stderr(log("stderr"));
        let mut child = command.spawn().expect("the server starts");
        let started = Instant::now();
        let (address, admin_address) = loop {
            let stdout = read(&file("stdout"));
            if let (Some(address), Some(admin)) = (advertised(&stdout, "endpoint"), advertised(&stdout, "metrics")) {
                break (address, admin);
            }
            if let Some(status) = child.try_wait().expect("it is our child") {
                return Err((status, stdout, read(&file("stderr"))));
            }
            if started.elapsed() > START_LIMIT {
                end_by_force(&mut child);
                panic!("no banner within {START_LIMIT:?}:\n{stdout}\n{}", read(&file("stderr")));
            }
            thread::sleep(Duration::from_millis(5));
        };
        Ok(Server::new(child, folder, address, admin_address))
    }
}

/// Puts a program into a folder in the place of the one there, in one step as a package manager does.
pub(super) fn install(program: &Path, folder: &Path) {
    let new = folder.join("new-program");
    if fs::hard_link(program, &new).is_err() {
        fs::copy(program, &new).expect("programs can be copied");
    }
    // Two names of one file are left as they are by rename(2).
    let _ = fs::remove_file(folder.join(PROGRAM));
    fs::rename(new, folder.join(PROGRAM)).expect("a file can be renamed");
}

/// The same command as arguments of another.
fn wrapped(command: Command, wrapper: &[String]) -> Command {
    let Some((program, words)) = wrapper.split_first() else { return command };
    let mut outer = Command::new(program);
    outer.args(words).arg(command.get_program()).args(command.get_args());
    outer.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    outer
}

fn end_by_force(child: &mut Child) {
    let children = Process::children_of(child.id().try_into().expect("pids fit"));
    let _ = child.kill();
    let _ = child.wait();
    children.iter().for_each(|process| process.signal(Signal::SIGKILL));
}

/// The address in a banner line such as `endpoint   http://127.0.0.1:8443/mcp`, once the line is complete.
fn advertised(stdout: &str, name: &str) -> Option<SocketAddr> {
    let line = stdout.split_inclusive('\n').find(|line| line.ends_with('\n') && line.trim_start().starts_with(name))?;
    let url = line.split_whitespace().nth(1)?.strip_prefix("http://")?;
    url.split('/').next()?.parse().ok()
}

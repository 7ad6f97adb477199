//! An instance in a directory of its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use task_mcp_config::Settings;
use task_mcp_supervisor::{Configured, Exit, Installed, Launch, Logs, Passed, Ready, run_program};

pub const SNAPSHOT: &[u8] = b"{\"snapshot\":true}";
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A directory where processes leave one file each, and the program to start.
pub struct Stage {
    pub dir: tempfile::TempDir,
    /// Signals go to the whole test program, so under a runner with threads the tests take turns.
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    pub fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("born")).unwrap();
        let program = dir.path().join("program");
        let test = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\nFAKE_ARGS=\"$*\" exec '{}' --exact fake_process --ignored --nocapture\n",
            test.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir, _turn: turn }
    }

    pub fn settings(&self) -> Settings {
        let mut settings: Settings = toml::from_str(task_mcp_config::DEFAULT_TOML).unwrap();
        settings.server.listen = vec!["127.0.0.1:0".parse().unwrap()];
        settings.admin.listen = "127.0.0.1:0".parse().unwrap();
        settings.supervisor.runtime_dir = self.dir.path().join("run");
        settings.supervisor.state_dir = self.dir.path().join("state");
        settings.supervisor.restart_delay_ms = 10;
        settings.supervisor.restart_limit = 3;
        settings.server.workers = 2;
        settings
    }

    pub fn run(&self, mode: &str, settings: Settings, on_ready: impl FnOnce(&Ready) + 'static) -> Exit {
        let mut other = settings.clone();
        let launch = Launch {
            configured: Configured { settings, snapshot: SNAPSHOT.to_vec() },
            // Whenever they are read again, they ask for new workers.
            read_settings: Box::new(move || {
                other.limits.keep_alive_s += 1;
                Ok(Configured { settings: other.clone(), snapshot: SNAPSHOT.to_vec() })
            }),
            installed: Installed { path: "/nowhere".into(), args: vec![], env: vec![] },
            taken: None,
            passed: Passed::default(),
            series: task_mcp_supervisor::series(),
            on_ready: Box::new(on_ready),
            build: "test".into(),
            logs: Logs { apply: |_| {}, set_level: |_| {}, reopen: || {} },
            extra_args: vec!["--fake".into(), mode.into(), "--stage".into(), self.dir.path().display().to_string()],
        };
        let exit = run_program(launch, &self.dir.path().join("program")).unwrap();
        for (name, pid) in born(self.dir.path()) {
            assert!(test_kill_process(pid).is_err(), "{name} was left behind");
        }
        exit
    }
}

/// The processes that began, by `role-slot-generation`.
pub fn born(stage: &Path) -> BTreeMap<String, Pid> {
    let files = fs::read_dir(stage.join("born")).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let pid = fs::read_to_string(&path).unwrap().parse().ok().and_then(Pid::from_raw)?;
        Some((path.file_name().unwrap().to_str().unwrap().to_owned(), pid))
    };
    files.filter_map(read).collect()
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Ends the instance however the thread that holds it ends.
pub struct TermOnDrop;

impl Drop for TermOnDrop {
    fn drop(&mut self) {
        send_self(Signal::TERM);
    }
}

pub fn send_self(signal: Signal) {
    kill_process(rustix::process::getpid(), signal).unwrap();
}

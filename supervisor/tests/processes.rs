//! Promises of the supervisor on real processes. The processes are this test program itself: `fake_process` plays a
//! worker or an admin process, and a shell script stands between, because a test program takes other arguments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use task_mcp_config::Settings;
use task_mcp_link::{Decoder, FromProcess, Received, ToProcess, encode};
use task_mcp_scoreboard::{Commons, Role, Sample, Scoreboard, SeatState, monotonic_ms};
use task_mcp_supervisor::{
    Configured, Exit, Installed, Launch, Logs, Passed, Ready, Request, Response, control, run_program,
};

const SNAPSHOT: &[u8] = b"{\"snapshot\":true}";
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory where processes leave one file each, and the program to start.
struct Stage {
    dir: tempfile::TempDir,
    /// Signals go to the whole test program, so under a runner with threads the tests take turns.
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    fn new() -> Self {
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

    fn settings(&self) -> Settings {
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

    fn run(&self, mode: &str, settings: Settings, on_ready: impl FnOnce(&Ready) + 'static) -> Exit {
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
fn born(stage: &Path) -> BTreeMap<String, Pid> {
    let files = fs::read_dir(stage.join("born")).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let pid = fs::read_to_string(&path).unwrap().parse().ok().and_then(Pid::from_raw)?;
        Some((path.file_name().unwrap().to_str().unwrap().to_owned(), pid))
    };
    files.filter_map(read).collect()
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Ends the instance however the thread that holds it ends.
struct TermOnDrop;

impl Drop for TermOnDrop {
    fn drop(&mut self) {
        send_self(Signal::TERM);
    }
}

fn send_self(signal: Signal) {
    kill_process(rustix::process::getpid(), signal).unwrap();
}

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
    let Ok(arguments) = std::env::var("FAKE_ARGS") else { return };
    let code = Fake::new(&arguments).play();
    #[expect(clippy::disallowed_methods, reason = "the test harness would end the process with a code of its own")]
    std::process::exit(code);
}

struct Fake {
    role: String,
    options: BTreeMap<String, String>,
    listeners: Vec<RawFd>,
}

impl Fake {
    fn new(arguments: &str) -> Self {
        let mut words = arguments.split(' ').map(str::to_owned);
        let mut fake = Self { role: words.next().unwrap(), options: BTreeMap::new(), listeners: vec![] };
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if name == "--listen-fd" {
                fake.listeners.push(value.parse().unwrap());
            } else {
                fake.options.insert(name, value);
            }
        }
        fake
    }

    fn number(&self, name: &str) -> u64 {
        self.options[name].parse().unwrap()
    }

    #[allow(unsafe_code)] // Taking over an inherited descriptor cannot be done without.
    fn take(&self, name: &str) -> OwnedFd {
        let fd = self.number(name) as RawFd;
        // SAFETY: the supervisor opened the descriptor for this process alone and passed its number; each name is taken
        // once, so nothing else owns it.
        unsafe { OwnedFd::from_raw_fd(fd) }
    }

    fn play(&self) -> i32 {
        self.check_inheritance();
        let mode = self.options["--fake"].as_str();
        let slot = self.options.get("--slot").map_or("x", String::as_str);
        let stage = Path::new(&self.options["--stage"]);
        let name = format!("{}-{slot}-{}", self.role, self.number("--generation"));
        // Complete when it appears.
        fs::write(stage.join(&name), std::process::id().to_string()).unwrap();
        fs::rename(stage.join(&name), stage.join("born").join(&name)).unwrap();
        let mut link = UnixStream::from(self.take("--link-fd"));
        let mut say = |message: FromProcess| link.write_all(&encode(&message).unwrap()).unwrap();
        match mode {
            "die" => return 70,
            "die-later" if self.number("--generation") > 3 => return 70,
            "config" => {
                say(FromProcess::Fatal { exit_code: 78, reason: "the settings are for another planet".into() });
                return 78;
            }
            _ => {}
        }
        let scoreboard = Scoreboard::open(self.take("--scoreboard-fd")).unwrap();
        let seat = scoreboard.seat(self.number("--seat") as u16).unwrap();
        assert_ne!(Commons::open(self.take("--commons-fd")).unwrap().incarnation(), 0);
        seat.begin(
            std::process::id(),
            slot.parse().unwrap_or(0),
            self.number("--generation"),
            Role::Worker,
            monotonic_ms(),
        );
        let heart = seat.clone();
        std::thread::spawn(move || {
            loop {
                heart.heartbeat(monotonic_ms());
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        if mode == "busy" && name == "worker-0-1" {
            (0..2).for_each(|_| seat.request_started());
        }
        say(FromProcess::Hello {
            pid: std::process::id(),
            generation: self.number("--generation"),
            seat: self.number("--seat") as u16,
            build: "test".into(),
        });
        if mode == "mute-later" && self.number("--generation") > 3 {
            return self.serve(link, mode, stage, &scoreboard);
        }
        seat.set_state(SeatState::Live);
        say(FromProcess::Ready { listening: vec![] });
        if mode == "quitter" && name == "worker-0-1" {
            say(FromProcess::Draining);
        }
        self.serve(link, mode, stage, &scoreboard)
    }

    fn serve(&self, mut link: UnixStream, mode: &str, stage: &Path, scoreboard: &Scoreboard) -> i32 {
        let mut decoder = Decoder::<ToProcess>::new();
        let mut bytes = [0; 1024];
        loop {
            match link.read(&mut bytes).unwrap() {
                0 => return 1,
                count => decoder.push(&bytes[..count]),
            }
            while let Some(received) = decoder.next_message().unwrap() {
                assert!(matches!(received, Received::Message(ToProcess::Drain { .. })));
                if mode == "stubborn" && self.role == "worker" {
                    continue;
                }
                if self.role == "admin" {
                    fs::write(stage.join("metrics"), metrics(scoreboard)).unwrap();
                }
                let forced = mode == "forced" && self.role == "worker";
                for message in [FromProcess::Draining, FromProcess::Drained { forced }] {
                    link.write_all(&encode(&message).unwrap()).unwrap();
                }
                return if forced { 75 } else { 0 };
            }
        }
    }

    /// A process has what it was given, and nothing else of the supervisor's.
    fn check_inheritance(&self) {
        let given =
            ["--link-fd", "--settings-fd", "--scoreboard-fd", "--commons-fd"].map(|name| self.number(name) as RawFd);
        let given: Vec<RawFd> = given.into_iter().chain(self.listeners.iter().copied()).collect();
        for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
            let fd: RawFd = entry.file_name().to_str().unwrap().parse().unwrap();
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let target = target.to_string_lossy();
            let ours = target.starts_with("socket:") || target.starts_with("/memfd:task-mcp");
            assert!(!ours || given.contains(&fd) || fd < 3, "inherited {fd}: {target}");
        }
        assert_eq!(self.listeners.len(), 1);
        let settings = File::open(format!("/proc/self/fd/{}", self.number("--settings-fd"))).unwrap();
        let mut snapshot = vec![0; SNAPSHOT.len()];
        settings.read_exact_at(&mut snapshot, 0).unwrap();
        assert_eq!(snapshot, SNAPSHOT);
        assert_eq!(rustix::process::getpgid(None).unwrap(), rustix::process::getpid());
        assert_eq!(fs::read_link("/proc/self/fd/0").unwrap(), Path::new("/dev/null"));
        for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC"] {
            assert!(std::env::var_os(name).is_none());
        }
    }
}

fn metrics(scoreboard: &Scoreboard) -> String {
    let value = |name, labels: &[(&str, &str)]| match scoreboard.total(scoreboard.find(name, labels).unwrap()).unwrap()
    {
        Sample::Counter(value) => value,
        other => panic!("{other:?}"),
    };
    let lost = value("task_mcp_requests_lost_total", &[]);
    format!("lost {lost}, restarts {}", value("task_mcp_worker_restarts_total", &[("process", "worker")]))
}

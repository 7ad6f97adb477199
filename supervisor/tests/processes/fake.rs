//! A process that does what a worker or the admin process does for the supervisor, and no more.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use task_mcp_link::{Decoder, FromProcess, Received, ToProcess, encode};
use task_mcp_scoreboard::{Commons, Role, Sample, Scoreboard, SeatState, monotonic_ms};

use crate::radio::Radio;
use crate::stage::SNAPSHOT;

/// Plays one if this program was started for that.
pub fn play() {
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
        if mode == "radio" {
            return Radio::new(link, stage, &name).play();
        }
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
                match received {
                    Received::Message(ToProcess::Drain { .. }) => {}
                    // It keeps nothing that it would look at anew.
                    Received::Message(ToProcess::Resync) => continue,
                    other => panic!("nobody sent {other:?}"),
                }
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

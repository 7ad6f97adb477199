//! Processes as `/proc` shows them.

use std::{fs, path::Path};

use nix::{sys::signal::kill, unistd::Pid};

pub use nix::sys::signal::Signal;

/// A process, told apart from a later one with the same pid by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    started_ticks: u64,
}

impl Process {
    /// The live children of a process; zombies are not among them.
    pub fn children_of(parent: i32) -> Vec<Self> {
        let entries = fs::read_dir("/proc").expect("/proc is readable").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut children: Vec<Self> = pids
            .filter_map(Stat::read)
            .filter(|stat| stat.parent == parent && !stat.is_zombie)
            .map(|stat| stat.process)
            .collect();
        children.sort_unstable();
        children
    }

    /// Whether it has not ended; a zombie has.
    pub fn is_alive(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.process == self && !stat.is_zombie)
    }

    /// Whether all its threads are stopped. SIGSTOP reaches them one after the other, and one that accepts may take connections
    /// until then; `T` in proc_pid_stat(5).
    pub fn is_wholly_stopped(self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).expect("it lives").flatten();
        let mut stats = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
        stats.all(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T')))
    }

    /// Whether it is stopped (SIGSTOP).
    pub fn is_stopped(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.process == self && stat.is_stopped)
    }

    /// Its children that have ended and were not reaped.
    pub fn zombies_of(parent: i32) -> usize {
        let entries = fs::read_dir("/proc").expect("/proc is readable").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(Stat::read).filter(|stat| stat.parent == parent && stat.is_zombie).count()
    }

    /// Whether its command line has this word.
    pub fn is_called(self, word: &str) -> bool {
        let line = fs::read(Path::new("/proc").join(self.pid.to_string()).join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).skip(1).any(|argument| argument == word.as_bytes())
    }

    /// Sends a signal unless the process has ended.
    pub fn signal(self, signal_to_send: Signal) {
        if self.is_alive() {
            signal(self.pid, signal_to_send);
        }
    }
}

/// What a process takes of the system, see proc_pid_status(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Open descriptors.
    pub descriptors: usize,
    /// Resident memory.
    pub resident_kib: u64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// That of a live process.
    pub fn of(pid: i32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process has a status");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
        };
        Self {
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).expect("ours to look at").count(),
            resident_kib: number("VmRSS:"),
            threads: number("Threads:"),
        }
    }
}

/// Sends a signal; a process that is gone already is fine.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// What is used of `/proc/<pid>/stat`, see proc_pid_stat(5).
struct Stat {
    process: Process,
    parent: i32,
    is_zombie: bool,
    is_stopped: bool,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold spaces and brackets, so fields are counted from its last bracket.
        let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split(' ').collect();
        Some(Self {
            process: Process { pid, started_ticks: fields.get(19)?.parse().ok()? },
            parent: fields.get(1)?.parse().ok()?,
            is_zombie: matches!(*fields.first()?, "Z" | "X"),
            is_stopped: *fields.first()? == "T",
        })
    }
}

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

/// Sends a signal; a process that is gone already is fine.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// What is used of `/proc/<pid>/stat`, see proc_pid_stat(5).
struct Stat {
    process: Process,
    parent: i32,
    is_zombie: bool,
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
        })
    }
}

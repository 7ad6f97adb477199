//! Where a process is, so that others on its machine can tell whether it lives without waiting for what it says.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A process among all of all machines: the run of the kernel, the namespace of its process ids, its id, and when it began, so that
/// a later process of the same id is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    boot: String,
    namespace: u64,
    pid: i32,
    /// In ticks since the machine started (proc_pid_stat(5), field 22).
    began: u64,
}

impl Place {
    /// Of this process. Where `/proc` tells nothing, it is a place that nobody shares.
    pub(crate) fn here() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino());
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let began = stat(pid).map_or(0, |stat| stat.began);
        Self { boot, namespace, pid, began }
    }

    /// Reads what `Display` wrote; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut next = || parts.next();
        let boot = next()?.to_owned();
        let place =
            Self { boot, namespace: next()?.parse().ok()?, pid: next()?.parse().ok()?, began: next()?.parse().ok()? };
        Some(place)
    }

    /// Whether its process lives, as far as one at `other` can tell: `None` if they do not share a machine. It takes two system calls
    /// that touch no disk: some 5 microseconds, too little to hand it to another thread.
    pub(crate) fn lives_beside(&self, other: &Self) -> Option<bool> {
        let is_known = !self.boot.is_empty() && self.namespace != 0 && self.began != 0;
        if !is_known || (&self.boot, self.namespace) != (&other.boot, other.namespace) {
            return None;
        }
        let pid = Pid::from_raw(self.pid)?;
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return Some(false);
        }
        // Where another user's processes are hidden, its id alone has to do.
        Some(stat(self.pid).is_none_or(|stat| stat.began == self.began && !stat.has_ended))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.boot, self.namespace, self.pid, self.began)
    }
}

struct Stat {
    began: u64,
    /// It waits to be reaped.
    has_ended: bool,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and brackets, so fields are counted from its last bracket.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let has_ended = matches!(fields.next()?, "Z" | "X");
    Some(Stat { began: fields.nth(18)?.parse().ok()?, has_ended })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_beside_is_known_to_live_until_it_has_ended_and_one_elsewhere_is_not() {
        let here = Place::here();
        assert_eq!(Place::parse(&here.to_string()).as_ref(), Some(&here));
        assert_eq!(here.lives_beside(&here), Some(true));
        let elsewhere = Place { boot: "another".into(), ..here.clone() };
        assert_eq!((elsewhere.lives_beside(&here), here.lives_beside(&elsewhere)), (None, None));
        let later = Place { began: here.began + 1, ..here.clone() };
        assert_eq!(later.lives_beside(&here), Some(false), "its id belongs to another process now");

        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let beside = Place { pid, began: stat(pid).unwrap().began, ..here.clone() };
        assert_eq!(beside.lives_beside(&here), Some(true));
        child.kill().unwrap();
        while !stat(pid).unwrap().has_ended {
            std::thread::yield_now();
        }
        assert_eq!(beside.lives_beside(&here), Some(false), "not reaped yet");
        child.wait().unwrap();
        assert_eq!(beside.lives_beside(&here), Some(false));
        for nonsense in ["", "a.b.c.d", "a.1.2", "...."] {
            assert_eq!(Place::parse(nonsense), None, "{nonsense}");
        }
    }
}

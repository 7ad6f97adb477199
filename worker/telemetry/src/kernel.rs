//! What the kernel knows about a process.

use std::fs;
use std::path::Path;

/// Where the kernel tells it; proc(5).
pub(crate) const PROC: &str = "/proc";

/// What was readable of a process.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// Resident memory, in bytes.
    pub(crate) resident_bytes: Option<u64>,
    /// Processor time of all its threads, in seconds.
    pub(crate) cpu_s: Option<f64>,
    /// Open descriptors; readable for the same user, without capabilities.
    pub(crate) open_fds: Option<u64>,
}

/// Reads it anew. A process that is gone, and a `/proc` that is hidden (`hidepid`, proc(5)), say nothing.
pub(crate) fn usage(proc: &Path, pid: u32) -> Usage {
    let process = proc.join(pid.to_string());
    let read = |name: &str| fs::read_to_string(process.join(name)).ok();
    Usage {
        resident_bytes: read("statm").and_then(|statm| resident_pages(&statm)).map(|pages| pages * page_bytes()),
        cpu_s: read("stat").and_then(|stat| cpu_ticks(&stat)).map(|ticks| ticks as f64 / ticks_per_s() as f64),
        open_fds: fs::read_dir(process.join("fd")).ok().map(|entries| entries.count() as u64),
    }
}

/// The second number of `statm`; proc_pid_statm(5).
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Fields 14 and 15 of `stat`, in user and in kernel mode; proc_pid_stat(5). The name is in parentheses and may hold any
/// character, so fields are counted from its last one.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, kernel): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + kernel)
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// `sysconf(_SC_CLK_TCK)`, the unit of `stat`.
fn ticks_per_s() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_of_any_characters() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 1 0 100 0 0";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!((cpu_ticks("7 (a) S 1"), cpu_ticks(""), resident_pages("100 ")), (None, None, None));
        assert_eq!(resident_pages("100 42 7 1 0 50 0\n"), Some(42));
    }

    #[test]
    fn the_time_of_this_process_grows_with_what_it_does() {
        let own = || usage(Path::new(PROC), std::process::id());
        let before = own();
        let started = Instant::now();
        while own().cpu_s.unwrap() < before.cpu_s.unwrap() + 0.05 {
            assert!(started.elapsed() < Duration::from_secs(20), "no processor time was counted");
        }
        assert!(before.resident_bytes.unwrap() > 100_000);
        let file = fs::File::open("/dev/null").unwrap();
        assert!(own().open_fds.unwrap() > 2);
        drop(file);
        assert_eq!(usage(Path::new(PROC), u32::MAX), Usage::default());
    }
}

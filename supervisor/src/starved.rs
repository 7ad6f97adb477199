//! Whether a process is runnable and gets no processor: then its silence is the machine's fault, not its own. What counts is
//! the thread that serves, which sends the heartbeats; as long as it is not known, any thread may excuse the process.
//!
//! From `/proc/PID/task/TID/schedstat` (scheduler statistics of the kernel: nanoseconds on a processor, nanoseconds waiting for
//! one, turns) and the state letter in `stat` (proc_pid_stat(5)). Waiting is added to the statistics only when it ends, so a
//! thread that waits now is known by its state.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A thread that had the processor for a smaller part of the time than this was starved, if it wanted it.
const SHARE: u64 = 4;
/// Two looks are at least this far apart, in milliseconds: the kernel brings the times of a running thread up to date with its
/// clock ticks, up to 10 ms apart.
const INTERVAL_MS: u64 = 40;
/// A silence is excused no longer than this, in milliseconds: the machine is not to blame for everything.
const EXCUSED_MS: u64 = 10_000;
/// A thread that ran for longer than this (all threads together, if the one that serves is not known) and sent no heartbeat
/// meanwhile, which takes microseconds, had its chance. In nanoseconds: what it gets within 2 s with a quarter of a processor.
const RAN_NS: u64 = 500_000_000;
/// Threads that are looked at if the one that serves is not known; a worker has about ten.
const THREADS_MAX: usize = 256;

/// What was seen at the last look at a silent process.
#[derive(Debug, Default)]
pub(crate) struct Starvation {
    threads: BTreeMap<u32, Turns>,
    at_ms: u64,
    starved: bool,
    /// When the silence was first looked at.
    since_ms: Option<u64>,
    /// How long it ran since then, as far as seen.
    ran_ns: u64,
}

/// Accumulated times of one thread, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turns {
    ran_ns: u64,
    waited_ns: u64,
    runnable: bool,
}

impl Starvation {
    /// Looks at a process that is silent, and says whether it was starved since the last look. `tid` is the thread that serves,
    /// if it is known. The first look, and a `/proc` that is hidden, say no.
    pub(crate) fn look(&mut self, pid: i32, tid: Option<u32>, now_ms: u64) -> bool {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        if passed_ms < INTERVAL_MS {
            return self.starved;
        }
        let tasks = Path::new("/proc").join(pid.to_string()).join("task");
        let threads = match tid {
            Some(tid) => read_thread(&tasks, tid).map(|turns| (tid, turns)).into_iter().collect(),
            None => read_threads(&tasks),
        };
        self.take(threads, passed_ms, now_ms)
    }

    fn take(&mut self, threads: BTreeMap<u32, Turns>, passed_ms: u64, now_ms: u64) -> bool {
        let pairs = threads.iter().filter_map(|(id, now)| Some((*self.threads.get(id)?, *now)));
        let ran_ns = pairs.clone().map(|(then, now)| now.ran_ns.saturating_sub(then.ran_ns)).sum::<u64>() + self.ran_ns;
        let since_ms = self.since_ms.unwrap_or(now_ms);
        let may_be_excused = now_ms.saturating_sub(since_ms) <= EXCUSED_MS && ran_ns <= RAN_NS;
        let mut pairs = pairs;
        let starved =
            may_be_excused && pairs.any(|(then, now)| starved(then, now, passed_ms.saturating_mul(1_000_000)));
        *self = Self { threads, at_ms: now_ms, starved, since_ms: Some(since_ms), ran_ns };
        starved
    }

    /// The process is not silent any more.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

fn starved(then: Turns, now: Turns, passed_ns: u64) -> bool {
    let ran_ns = now.ran_ns.saturating_sub(then.ran_ns);
    let waited_ns = now.waited_ns.saturating_sub(then.waited_ns);
    let wanted = waited_ns >= passed_ns / 2 || then.runnable && now.runnable;
    passed_ns > 0 && wanted && ran_ns < passed_ns / SHARE
}

fn read_threads(tasks: &Path) -> BTreeMap<u32, Turns> {
    let Ok(entries) = fs::read_dir(tasks) else { return BTreeMap::new() };
    let threads = entries.take(THREADS_MAX).flatten().filter_map(|task| {
        let id = task.file_name().to_str()?.parse().ok()?;
        Some((id, read_thread(tasks, id)?))
    });
    threads.collect()
}

fn read_thread(tasks: &Path, id: u32) -> Option<Turns> {
    let task = tasks.join(id.to_string());
    let statistics = fs::read_to_string(task.join("schedstat")).ok()?;
    let mut numbers = statistics.split_ascii_whitespace().map(str::parse::<u64>);
    let (ran_ns, waited_ns) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    // The name is in parentheses and may hold any character, so the state follows the last one.
    let runnable = stat.rsplit_once(')')?.1.trim_start().starts_with('R');
    Some(Turns { ran_ns, waited_ns, runnable })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    const LOOK_NS: u64 = 50_000_000;

    fn turns(ran_ns: u64, waited_ns: u64, runnable: bool) -> Turns {
        Turns { ran_ns, waited_ns, runnable }
    }

    #[test]
    fn only_a_thread_that_wants_the_processor_and_does_not_get_it_is_starved() {
        let asleep = turns(0, 0, false);
        let ready = turns(0, 0, true);
        for (then, now, expected, why) in [
            (asleep, asleep, false, "stopped, or waiting for a lock"),
            (ready, turns(LOOK_NS, 0, true), false, "a busy loop"),
            (ready, turns(LOOK_NS / 2, LOOK_NS / 2, true), false, "a busy loop that shares a processor"),
            (ready, ready, true, "runnable and never chosen"),
            (asleep, turns(LOOK_NS / 50, LOOK_NS - LOOK_NS / 50, false), true, "waited nearly all the time"),
            (turns(9, 9, true), asleep, false, "numbers that fall"),
        ] {
            assert_eq!(starved(then, now, LOOK_NS), expected, "{why}");
        }
        assert!(!starved(ready, ready, 0), "no time passed");
    }

    /// Looks every 50 ms, at a thread that waits in between and one that ran for so long; how long that was excused.
    fn excused_ms(other_ran_ns: u64) -> u64 {
        let mut starvation = Starvation::default();
        let mut looks = (0..1_000).map(|look| {
            let threads = [(1, turns(0, 0, true)), (2, turns(look * other_ran_ns, 0, false))];
            starvation.take(BTreeMap::from(threads), 50, 50 * (look + 1))
        });
        assert_eq!(looks.next(), Some(false), "nothing to compare with");
        50 * looks.take_while(|starved| *starved).count() as u64
    }

    #[test]
    fn no_silence_is_excused_for_ever_nor_that_of_a_process_that_ran() {
        assert_eq!(excused_ms(0), EXCUSED_MS);
        assert_eq!(excused_ms(20_000_000), 50 * 25, "0.5 s in turns of 20 ms");
    }

    #[test]
    fn this_process_can_be_looked_at_and_a_missing_one_is_not_starved() {
        let own = read_threads(Path::new("/proc/self/task"));
        assert!(own.values().any(|turns| turns.ran_ns > 0), "{own:?}");
        assert_eq!(read_threads(Path::new("/proc/self/no-such-process/task")), BTreeMap::new());
        for tid in [None, Some(1)] {
            let mut starvation = Starvation::default();
            assert!(!starvation.look(i32::MAX, tid, 1) && !starvation.look(i32::MAX, tid, 1_000));
        }
    }

    /// A thread that sleeps beside one that burns the processor.
    #[test]
    fn only_the_thread_that_serves_is_looked_at_once_it_is_known() {
        let tid = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let burning = AtomicBool::new(true);
        let pid = std::process::id() as i32;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while burning.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let mut starvations = [Some(tid), None].map(|tid| (tid, Starvation::default()));
            let looks = Instant::now();
            while looks.elapsed() < Duration::from_millis(600) {
                for (tid, starvation) in &mut starvations {
                    starvation.look(pid, *tid, 1 + looks.elapsed().as_millis() as u64 + INTERVAL_MS);
                }
                std::thread::sleep(Duration::from_millis(INTERVAL_MS));
            }
            burning.store(false, Ordering::Relaxed);
            let [(_, serving), (_, whole)] = starvations;
            assert_eq!(serving.threads.keys().collect::<Vec<_>>(), [&tid]);
            assert!(whole.threads.len() > 1 && whole.ran_ns > serving.ran_ns, "{whole:?} {serving:?}");
        });
    }
}

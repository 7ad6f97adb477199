//! Looks at the heartbeats on the scoreboard, and at the queues of slots that are to be closed or that nobody serves; once a
//! second at all queues, and at how worn the workers are.

use std::fs;

use task_mcp_scoreboard::{SeatState, monotonic_ms};

use crate::run::Supervisor;
use crate::step::{Event, LOOK_MS, Post};

impl Supervisor {
    /// Tells the heartbeat of every process that serves or drains.
    pub(crate) fn watch(&mut self) {
        if self.tally.sample_due(monotonic_ms()) {
            self.sample();
        }
        for slot in self.state.queues(monotonic_ms()) {
            self.events.push(Event::Queue { slot, waiting: self.listeners.waiting(slot) });
        }
        if !self.state.watches() {
            return;
        }
        self.events.push(Event::Look);
        for (generation, process) in &mut self.processes {
            let seat = &process.seat;
            // Before the process takes its seat, the words are those of the last one.
            if seat.generation() != *generation || !matches!(seat.state(), SeatState::Live | SeatState::Draining) {
                continue;
            }
            let heartbeat_ms = seat.heartbeat_ms();
            let now_ms = monotonic_ms();
            // Two missed heartbeats: from here on it is of interest what the process does instead.
            let starved = if now_ms.saturating_sub(heartbeat_ms) > 2 * LOOK_MS {
                process.starvation.look(process.pid.as_raw_nonzero().get(), seat.tid(), now_ms)
            } else {
                process.starvation.forget();
                false
            };
            self.events.push(Event::Pulse { generation: *generation, heartbeat_ms, starved });
        }
    }

    /// What is looked at once a second: the queues of all slots, and how worn the workers are if that matters.
    fn sample(&mut self) {
        for slot in 0..self.state.worker_slots() {
            self.tally.queue(slot, self.listeners.waiting(slot));
        }
        if !self.state.recycles() {
            return;
        }
        for (generation, process) in &self.processes {
            let seat = &process.seat;
            if process.post == Post::Admin || seat.generation() != *generation || seat.state() != SeatState::Live {
                continue;
            }
            self.events.push(Event::Usage {
                generation: *generation,
                age_ms: monotonic_ms().saturating_sub(seat.started_ms()),
                requests: seat.own_requests(),
                rss_bytes: resident_bytes(process.pid.as_raw_nonzero().get()),
            });
        }
    }
}

/// Resident memory of a process's own, in bytes (`statm`, proc_pid_statm(5)); `None` where `/proc` is hidden. Pages of files and of
/// shared memory are left out: those of the cache that all processes map would otherwise be the memory of each.
fn resident_bytes(pid: i32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    own_pages(&statm).map(|pages| pages * rustix::param::page_size() as u64)
}

/// The second number of `statm`, resident pages, without the third, those that belong to files or to shared memory.
fn own_pages(statm: &str) -> Option<u64> {
    let mut numbers = statm.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(resident.saturating_sub(shared))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_memory_of_this_process_is_known_and_that_of_none_is_not() {
        let own = resident_bytes(std::process::id() as i32).unwrap();
        assert!((100_000..10_000_000_000).contains(&own), "{own}");
        assert_eq!(own_pages("900 500 420 1 0 2 0"), Some(80), "what it shares with others is not its own");
        assert_eq!(resident_bytes(i32::MAX), None);
    }
}

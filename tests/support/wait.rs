//! Conditions with deadlines.

use std::{
    thread,
    time::{Duration, Instant},
};

pub use task_mcp_test_servers::eventually;

/// The worst delay of this machine, seen by a thread that only sleeps: a promise in milliseconds is kept by a machine that
/// runs its processes, and on one that stands still for a while it is kept that much later. Nothing the server does, or
/// leaves undone, counts: it would excuse itself.
#[derive(Debug, Default)]
pub struct Stalls {
    worst: Duration,
}

impl Stalls {
    /// Sleeps, and remembers by how much it overslept.
    pub fn sleep(&mut self, pause: Duration) {
        let started = Instant::now();
        thread::sleep(pause);
        self.worst = self.worst.max(started.elapsed().saturating_sub(pause));
    }

    /// The worse of both.
    pub fn and(self, other: Self) -> Self {
        Self { worst: self.worst.max(other.worst) }
    }

    /// A promised time, and what the machine took on top.
    pub fn allow(&self, promised: Duration) -> Duration {
        promised + self.worst
    }
}

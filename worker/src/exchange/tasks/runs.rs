//! All runs of tasks in this worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// Which runs a worker that takes leave ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leave {
    /// None.
    Stay,
    /// Those that only wait for their client, and those that have not begun if another worker can take them over.
    Waiting,
    /// All.
    Everything,
}

/// All runs of tasks in this worker.
#[derive(Debug)]
pub(crate) struct TaskRuns {
    count: Arc<AtomicUsize>,
    leave: watch::Sender<Leave>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Default for TaskRuns {
    fn default() -> Self {
        Self { count: Arc::default(), leave: watch::Sender::new(Leave::Stay) }
    }
}

impl TaskRuns {
    /// How many there are: a worker that takes leave waits for this to be 0.
    pub(crate) fn unfinished(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// The worker takes leave.
    pub(crate) fn leave(&self, leave: Leave) {
        self.leave.send_replace(leave);
    }

    /// Whether it does.
    pub(super) fn is_leaving(&self) -> bool {
        *self.leave.borrow() != Leave::Stay
    }

    pub(super) fn begin(&self) -> Counted {
        self.count.fetch_add(1, Ordering::AcqRel);
        Counted(Arc::clone(&self.count))
    }

    pub(super) fn leaves(&self) -> watch::Receiver<Leave> {
        self.leave.subscribe()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

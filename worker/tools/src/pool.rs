//! Bounded threads for work that blocks or computes, so that the thread that serves connections never does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use task_mcp_changes::{Offload, OffloadFull};
use task_mcp_telemetry::ToolMetrics;

use crate::panics::guarded;
use crate::slots::Slot;

type Job = Box<dyn FnOnce() + Send>;

/// A job in the queue.
struct Queued {
    job: Job,
    since: Instant,
}

/// A fixed number of threads behind a queue with a limit. A full queue refuses at once: the caller is told to come back rather
/// than kept waiting behind work that will miss its deadline. The threads end when the pool is dropped and the queue is empty.
#[derive(Debug, Clone)]
pub struct Pool {
    jobs: SyncSender<Queued>,
    unfinished: Arc<AtomicUsize>,
    metrics: ToolMetrics,
}

impl Pool {
    /// Starts `threads` (at least one) threads behind a queue of `queue` jobs. `metrics` tells how many wait and how long, and
    /// counts those that panic.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(threads: usize, queue: usize, metrics: &ToolMetrics) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Queued>(queue);
        // The receiver is shared by a mutex: it is held only while waiting for the next job, never while one runs.
        let waiting = Arc::new(Mutex::new(waiting));
        for index in 0..threads.max(1) {
            let (waiting, metrics) = (Arc::clone(&waiting), metrics.clone());
            thread::Builder::new().name(format!("pool-{index}")).spawn(move || serve(&waiting, &metrics))?;
        }
        Ok(Self { jobs, unfinished: Arc::default(), metrics: metrics.clone() })
    }

    /// Jobs that wait or run. A client that left takes its request along, but not the write it began: a process that takes leave
    /// waits for this to be 0.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Acquire)
    }
}

impl Offload for Pool {
    fn submit(&self, job: Job) -> Result<(), OffloadFull> {
        let unfinished = Slot::beyond_limits(&self.unfinished);
        let counted = Box::new(move || {
            let _unfinished = unfinished;
            job();
        });
        // Before a thread can take it off again.
        self.metrics.pool_queue.add(1);
        self.jobs.try_send(Queued { job: counted, since: Instant::now() }).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => {
                self.metrics.pool_queue.add(-1);
                OffloadFull
            }
        })
    }
}

fn serve(waiting: &Mutex<Receiver<Queued>>, metrics: &ToolMetrics) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Queued { job, since }) = next else { return };
        metrics.pool_queue.add(-1);
        metrics.pool_waited(since.elapsed());
        // Whoever waits for the job sees its channel close.
        if guarded(job).is_err() {
            metrics.panicked();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use task_mcp_scoreboard::Sample;
    use task_mcp_telemetry::names;

    use super::*;
    use crate::testing::{metrics, panics};

    #[test]
    fn a_full_queue_refuses_and_a_panic_ends_no_thread() {
        let (metrics, scoreboard) = metrics(&[]);
        let pool = Pool::start(1, 1, &metrics).unwrap();
        let (started, has_started) = channel();
        let (go, gate) = channel::<()>();
        pool.submit(Box::new(move || {
            started.send(()).unwrap();
            gate.recv_timeout(Duration::from_secs(10)).unwrap();
            panic!("on purpose");
        }))
        .unwrap();
        has_started.recv_timeout(Duration::from_secs(10)).unwrap();
        let (done, is_done) = channel();
        pool.submit(Box::new(move || done.send(()).unwrap())).unwrap();
        assert!(pool.submit(Box::new(|| {})).is_err(), "one runs, one waits, the third is refused");
        assert_eq!(pool.unfinished(), 2, "what was refused is not counted");
        let sample = |name| scoreboard.total(scoreboard.find(name, &[]).unwrap());
        assert_eq!(sample(names::POOL_QUEUE), Some(Sample::Gauge(1)), "one waits");
        go.send(()).unwrap();
        is_done.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(panics(&scoreboard), 1);
        let deadline = Instant::now() + Duration::from_secs(10);
        while pool.unfinished() > 0 {
            assert!(Instant::now() < deadline, "finished and panicked jobs are no longer counted");
            thread::yield_now();
        }
        assert_eq!(sample(names::POOL_QUEUE), Some(Sample::Gauge(0)));
        assert!(
            matches!(sample(names::POOL_WAIT), Some(Sample::Histogram { counts, .. }) if counts.iter().sum::<u64>() == 2)
        );
    }
}

//! What could not be entered in time, and is entered as soon as the state answers again: that a call was not run, or that nobody
//! knows what came of it. Until then the call is said to be running, so that a repeat comes again later.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::StateError;
use crate::records::{Kind, Records, Version};
use crate::runner::Runner;

/// Most that wait. What comes beyond that is given up: other processes say of it that it is running while this one runs any.
const WAITING: usize = 4_096;
/// Pause after a failure, doubled with each one in a row.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The loose ends of one process. Cloning is cheap and shares them.
#[derive(Debug, Clone)]
pub(super) struct LooseEnds {
    records: Records,
    runner: Runner,
    ttl: Duration,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// A task works on them.
    is_worked_on: bool,
}

/// A record that does not say what it should.
#[derive(Debug, Clone)]
pub(super) struct LooseEnd {
    pub(super) key: String,
    /// The state in which it is to be changed. In any other it says something else already.
    pub(super) version: Version,
    pub(super) remedy: Remedy,
}

/// What is to be done about it.
#[derive(Debug, Clone)]
pub(super) enum Remedy {
    /// Away with it: the call was not run.
    Withdraw,
    /// This in its place.
    Lose(Bytes),
}

#[derive(Debug)]
struct Waiting {
    end: LooseEnd,
    /// The record has ended by then.
    until: Instant,
    /// It was not there when it was looked for.
    was_missed: bool,
}

impl LooseEnds {
    pub(super) fn new(records: Records, runner: Runner, ttl: Duration) -> Self {
        Self { records, runner, ttl, queue: Arc::default() }
    }

    /// Sees to it, in the background; the runner is told when it is done.
    pub(super) fn put(&self, end: LooseEnd) {
        // A process without a runtime is about to end.
        let runtime = tokio::runtime::Handle::try_current().ok();
        let starts = {
            let mut queue = self.lock();
            if queue.waiting.len() >= WAITING || runtime.is_none() {
                drop(queue);
                return self.runner.end(&end.key);
            }
            queue.waiting.push_back(Waiting { end, until: Instant::now() + self.ttl, was_missed: false });
            !std::mem::replace(&mut queue.is_worked_on, true)
        };
        if let Some(runtime) = runtime.filter(|_| starts) {
            runtime.spawn(self.clone().work());
        }
    }

    /// Works until none is left.
    async fn work(self) {
        let mut pause = PAUSE;
        loop {
            let next = {
                let mut queue = self.lock();
                let next = queue.waiting.pop_front();
                queue.is_worked_on = next.is_some();
                next
            };
            let Some(mut waiting) = next else { return };
            let is_settled = match self.settle(&waiting.end).await {
                Ok(true) => true,
                // What was sent to Redis over another connection may come after this.
                Ok(false) => self.records.are_near() || std::mem::replace(&mut waiting.was_missed, true),
                Err(_) => false,
            };
            if is_settled || Instant::now() >= waiting.until {
                self.runner.end(&waiting.end.key);
                pause = PAUSE;
                continue;
            }
            self.lock().waiting.push_back(waiting);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Whether the record was there to be changed.
    async fn settle(&self, end: &LooseEnd) -> Result<bool, StateError> {
        match &end.remedy {
            Remedy::Withdraw => self.records.remove(Kind::Call, &end.key, end.version).await,
            Remedy::Lose(entry) => {
                let put =
                    self.records.replace(Kind::Call, &end.key, end.version, entry.clone(), Some(self.ttl)).await?;
                Ok(put.is_some())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What waits to be told to other processes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Events that may wait.
pub(super) const QUEUE: usize = 1_024;
/// What they may hold together, in bytes.
const QUEUE_BYTES: usize = 8 << 20;

/// Events on their way out of this process. Cloning is cheap and shares it; they are for one reader.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Outgoing>,
    bytes: usize,
}

/// What other processes are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// An event.
    Event {
        /// What it is about.
        topic: String,
        /// What was said.
        payload: String,
    },
    /// They may have missed some.
    Resync,
}

impl Outbox {
    /// The next one. Cancel-safe.
    pub async fn next(&self) -> Outgoing {
        loop {
            // Before the look, so that what comes after it is not missed.
            let came = self.0.came.notified();
            if let Some(outgoing) = self.pop() {
                return outgoing;
            }
            came.await;
        }
    }

    pub(super) fn put(&self, topic: &str, payload: &str) {
        {
            let mut waiting = self.lock();
            let bytes = topic.len() + payload.len();
            if waiting.events.len() < QUEUE && waiting.bytes + bytes <= QUEUE_BYTES {
                waiting.bytes += bytes;
                waiting.events.push_back(Outgoing::Event { topic: topic.to_owned(), payload: payload.to_owned() });
            } else {
                waiting.overflow();
            }
        }
        self.0.came.notify_one();
    }

    /// Puts the word that events were lost in the place of all that wait.
    pub(super) fn resync(&self) {
        self.lock().overflow();
        self.0.came.notify_one();
    }

    /// Gives up what waits.
    pub(super) fn clear(&self) {
        let mut waiting = self.lock();
        waiting.events.clear();
        waiting.bytes = 0;
    }

    fn pop(&self) -> Option<Outgoing> {
        let mut waiting = self.lock();
        let outgoing = waiting.events.pop_front()?;
        if let Outgoing::Event { topic, payload } = &outgoing {
            waiting.bytes -= topic.len() + payload.len();
        }
        Some(outgoing)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The others look at everything anew, so nothing that waits is needed.
    fn overflow(&mut self) {
        self.events.clear();
        self.bytes = 0;
        self.events.push_back(Outgoing::Resync);
    }
}

//! The queue of one subscriber.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Events that may wait for one subscriber.
pub(crate) const QUEUE: usize = 256;
/// What they may hold together, in bytes.
const QUEUE_BYTES: usize = 4 << 20;

/// What a subscriber hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Somebody published this.
    Event {
        /// What it is about.
        topic: Arc<str>,
        /// What was said.
        payload: Arc<str>,
    },
    /// Events may have been lost: look at everything anew.
    Resync,
}

/// Hears the events of some topics until it is dropped.
#[derive(Debug)]
pub struct Subscription(Arc<Queue>);

#[derive(Debug)]
pub(super) struct Queue {
    prefixes: Vec<Box<str>>,
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Heard>,
    bytes: usize,
}

impl Subscription {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self(queue)
    }

    /// The next event. Cancel-safe.
    pub async fn next(&mut self) -> Heard {
        loop {
            // Before the look, so that what comes after it is not missed.
            let came = self.0.came.notified();
            if let Some(heard) = self.0.pop() {
                return heard;
            }
            came.await;
        }
    }
}

impl Queue {
    pub(super) fn new(prefixes: &[&str]) -> Self {
        let prefixes = prefixes.iter().map(|prefix| (*prefix).into()).collect();
        Self { prefixes, waiting: Mutex::default(), came: Notify::new() }
    }

    pub(super) fn wants(&self, topic: &str) -> bool {
        self.prefixes.iter().any(|prefix| topic.starts_with(&**prefix))
    }

    /// Queues an event; false if there is no room, and then all that waits is replaced by one [`Heard::Resync`].
    pub(super) fn push(&self, event: Heard) -> bool {
        let has_room = {
            let mut waiting = self.lock();
            let bytes = size(&event);
            let has_room = waiting.events.len() < QUEUE && waiting.bytes + bytes <= QUEUE_BYTES;
            if has_room {
                waiting.bytes += bytes;
                waiting.events.push_back(event);
            }
            has_room
        };
        if has_room {
            self.came.notify_one();
        } else {
            self.resync();
        }
        has_room
    }

    /// Looking at everything anew makes up for all that waits.
    pub(super) fn resync(&self) {
        {
            let mut waiting = self.lock();
            waiting.events.clear();
            waiting.bytes = 0;
            waiting.events.push_back(Heard::Resync);
        }
        self.came.notify_one();
    }

    fn pop(&self) -> Option<Heard> {
        let mut waiting = self.lock();
        let event = waiting.events.pop_front()?;
        waiting.bytes -= size(&event);
        Some(event)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(heard: &Heard) -> usize {
    match heard {
        Heard::Event { topic, payload } => topic.len() + payload.len(),
        Heard::Resync => 0,
    }
}

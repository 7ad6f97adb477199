//! The event bus: what one process says, subscribers in all processes hear, on this machine through the supervisor, and
//! on others through Redis.
//!
//! Delivery is a hint, never the truth: an event may be lost on every part of its way, and then whoever may have missed it hears
//! [`Heard::Resync`] and looks at everything anew. Nobody ever waits for a subscriber.
//!
//! - `subscription`: the queue of one subscriber; `outbox`: what waits to be told to other processes
//! - `machines`: the same between machines, over Redis

pub(crate) mod machines;
mod outbox;
mod subscription;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use task_mcp_telemetry::StateMetrics;

pub use task_mcp_link::{PAYLOAD_BYTES_MAX, TOPIC_BYTES_MAX};

pub use self::outbox::{Outbox, Outgoing};
use self::subscription::Queue;
pub use self::subscription::{Heard, Subscription};

/// The bus of one process. Cloning is cheap and shares it.
#[derive(Debug, Clone)]
pub struct Bus(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    subscribers: Mutex<Vec<Weak<Queue>>>,
    outbox: Outbox,
    /// What is to be told to other machines, if there are any.
    elsewhere: Option<Outbox>,
    metrics: StateMetrics,
}

/// An event is larger than it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {what} of {bytes} bytes is over the limit of {limit_bytes} bytes")]
pub struct TooLong {
    /// Topic or payload.
    what: &'static str,
    /// Its size, in bytes.
    bytes: usize,
    /// The limit, in bytes.
    limit_bytes: usize,
}

impl Bus {
    /// The bus of a process. What goes to other machines, if it does, is put into `elsewhere` too.
    pub(crate) fn new(elsewhere: Option<Outbox>, metrics: StateMetrics) -> Self {
        Self(Arc::new(Parts { subscribers: Mutex::default(), outbox: Outbox::default(), elsewhere, metrics }))
    }

    /// Tells all subscribers of all processes, those of this one at once. It never waits.
    ///
    /// # Errors
    /// A topic over [`TOPIC_BYTES_MAX`] or a payload over [`PAYLOAD_BYTES_MAX`].
    pub fn publish(&self, topic: &str, payload: &str) -> Result<(), TooLong> {
        for (what, bytes, limit_bytes) in
            [("topic", topic.len(), TOPIC_BYTES_MAX), ("payload", payload.len(), PAYLOAD_BYTES_MAX)]
        {
            if bytes > limit_bytes {
                return Err(TooLong { what, bytes, limit_bytes });
            }
        }
        self.0.metrics.published.add(1);
        self.deliver(topic, payload);
        self.0.outbox.put(topic, payload);
        if let Some(elsewhere) = &self.0.elsewhere {
            elsewhere.put(topic, payload);
        }
        Ok(())
    }

    /// Hears from now on events whose topics begin with any of `prefixes`; an empty prefix is all of them.
    pub fn subscribe(&self, prefixes: &[&str]) -> Subscription {
        let queue = Arc::new(Queue::new(prefixes));
        let mut subscribers = self.subscribers();
        subscribers.retain(|one| one.strong_count() > 0);
        subscribers.push(Arc::downgrade(&queue));
        Subscription::new(queue)
    }

    /// Hands an event that came from elsewhere to the subscribers of this process.
    pub fn deliver(&self, topic: &str, payload: &str) {
        let event = Heard::Event { topic: topic.into(), payload: payload.into() };
        for queue in self.queues().iter().filter(|queue| queue.wants(topic)) {
            if queue.push(event.clone()) {
                self.0.metrics.delivered.add(1);
            } else {
                self.0.metrics.dropped.add(1);
            }
        }
    }

    /// Tells all subscribers of this process that they may have missed something.
    pub fn resync(&self) {
        self.queues().iter().for_each(|queue| queue.resync());
    }

    /// Hands an event of another machine to all processes of this one.
    fn deliver_machine(&self, topic: &str, payload: &str) {
        self.deliver(topic, payload);
        self.0.outbox.put(topic, payload);
    }

    /// Tells all subscribers of this machine that they may have missed something.
    fn resync_machine(&self) {
        self.resync();
        self.0.outbox.resync();
    }

    /// What is to be told to the other processes. For one reader: the link of this process.
    pub fn outbox(&self) -> Outbox {
        self.0.outbox.clone()
    }

    fn queues(&self) -> Vec<Arc<Queue>> {
        self.subscribers().iter().filter_map(Weak::upgrade).collect()
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Weak<Queue>>> {
        self.0.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What clients answer to a worker that asked and waits, also if the answer reaches another one.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::key_of;
use crate::StateError;
use crate::bus::Bus;
use crate::records::{Inserted, Kind, Records};

/// Topics of answers begin like this; the key follows.
const TOPIC: &str = "answer/";
/// How often somebody who waits looks, should the bus have lost the word.
const LOOK: Duration = Duration::from_millis(500);

/// Answers to those who wait. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Answers {
    records: Records,
    bus: Bus,
}

impl Answers {
    pub(crate) fn new(records: Records, bus: Bus) -> Self {
        Self { records, bus }
    }

    /// Leaves the answer to the question of that id, of any length; false if there was one already. It waits for `ttl`.
    ///
    /// # Errors
    /// It cannot be kept.
    pub async fn put(&self, id: &str, answer: Bytes, ttl: Duration) -> Result<bool, StateError> {
        let key = key_of(id);
        let inserted = self.records.insert(Kind::Answer, &key, answer, ttl).await?;
        // Keys are far below the limits of the bus.
        let _ = self.bus.publish(&format!("{TOPIC}{key}"), "");
        Ok(matches!(inserted, Inserted::New(_)))
    }

    /// Waits for the answer to the question of that id for as long as `limit`, and takes it: one caller gets it.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn wait(&self, id: &str, limit: Duration) -> Result<Option<Bytes>, StateError> {
        let key = key_of(id);
        let deadline = Instant::now() + limit;
        // Before the first look, so that no answer falls between.
        let mut subscription = self.bus.subscribe(&[&format!("{TOPIC}{key}")]);
        loop {
            // A look costs nothing to others; taking is a write.
            if self.records.get(Kind::Answer, &key).await?.is_some() {
                let taken = self.records.take(Kind::Answer, &key).await?;
                return Ok(taken.map(|record| record.value));
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(None);
            }
            let _ = timeout_at(deadline.min(now + LOOK), subscription.next()).await;
        }
    }
}

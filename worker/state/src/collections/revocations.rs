//! What is not to be accepted any more, though it looks valid: sealed session ids and tokens, until they end by themselves.
//!
//! It is asked for with every request. The embedded records are asked on the spot, which costs about a microsecond and is always
//! true. Redis is a round trip away, so a process remembers for a moment what it was told; the bus makes that shorter.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::key_of;
use crate::StateError;
use crate::bus::{Bus, Heard};
use crate::records::{Kind, Records};

/// Topic of a revocation; the payload is the key.
const TOPIC: &str = "revoked";
/// How long an answer of Redis is believed.
const BELIEVED: Duration = Duration::from_secs(1);
/// Answers that are remembered.
const REMEMBERED: usize = 16_384;

/// What is not to be accepted any more. Cloning is cheap and shares what is remembered.
#[derive(Debug, Clone)]
pub struct Revocations(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    records: Records,
    bus: Bus,
    remembered: Mutex<HashMap<String, Answer>>,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    is_revoked: bool,
    at: Instant,
}

impl Revocations {
    pub(crate) fn new(records: Records, bus: Bus) -> Self {
        Self(Arc::new(Parts { records, bus, remembered: Mutex::default() }))
    }

    /// From when this has returned, `name` is not accepted on this machine, nor after a second on any other, until `ttl` is over; it
    /// should have ended by itself then.
    ///
    /// # Errors
    /// It is not certain to be kept.
    pub async fn revoke(&self, name: &str, ttl: Duration) -> Result<(), StateError> {
        let key = key_of(name);
        self.0.records.put(Kind::Revocation, &key, Vec::new(), ttl).await?;
        self.remember(&key, true);
        // Keys are far below the limits of the bus.
        let _ = self.0.bus.publish(TOPIC, &key);
        Ok(())
    }

    /// Whether `name` was revoked.
    ///
    /// # Errors
    /// It is not known: it must not be accepted.
    pub async fn is_revoked(&self, name: &str) -> Result<bool, StateError> {
        let key = key_of(name);
        if self.0.records.are_near() {
            return Ok(self.0.records.get(Kind::Revocation, &key).await?.is_some());
        }
        let known = self.lock().get(&key).copied();
        if let Some(known) = known.filter(|known| known.at.elapsed() < BELIEVED) {
            return Ok(known.is_revoked);
        }
        let is_revoked = self.0.records.get(Kind::Revocation, &key).await?.is_some();
        self.remember(&key, is_revoked);
        Ok(is_revoked)
    }

    /// Hears what other processes revoke, for ever.
    pub(crate) async fn listen(&self) {
        let mut subscription = self.0.bus.subscribe(&[TOPIC]);
        loop {
            match subscription.next().await {
                Heard::Event { payload, .. } => self.remember(&payload, true),
                Heard::Resync => self.lock().clear(),
            }
        }
    }

    fn remember(&self, key: &str, is_revoked: bool) {
        if self.0.records.are_near() {
            return;
        }
        let mut remembered = self.lock();
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, answer| answer.at.elapsed() < BELIEVED);
        }
        if remembered.len() < REMEMBERED {
            remembered.insert(key.to_owned(), Answer { is_revoked, at: Instant::now() });
        } else {
            remembered.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Answer>> {
        self.0.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

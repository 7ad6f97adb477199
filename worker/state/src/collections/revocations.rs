//! What is not to be accepted any more, though it looks valid: sealed session ids and tokens, until they end by themselves.
//!
//! It is asked for with every request. The embedded records are asked on the spot, which costs about a microsecond and is always
//! true. Redis is a round trip away, so a process remembers for a moment what it was told; the bus makes that shorter.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Grows with each revocation that is heard of.
    heard: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    is_revoked: bool,
    at: Instant,
}

impl Revocations {
    pub(crate) fn new(records: Records, bus: Bus) -> Self {
        Self(Arc::new(Parts { records, bus, remembered: Mutex::default(), heard: AtomicU64::new(0) }))
    }

    /// From when this has returned, `name` is not accepted on this machine, nor after a second on any other, until `ttl` is over, or a
    /// second longer; it should have ended by itself then.
    ///
    /// # Errors
    /// It is not certain to be kept.
    pub async fn revoke(&self, name: &str, ttl: Duration) -> Result<(), StateError> {
        let key = key_of(name);
        self.0.records.put(Kind::Revocation, &key, Vec::new(), ttl).await?;
        self.remember(&key);
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
        let heard = self.0.heard.load(Ordering::Acquire);
        let is_revoked = self.0.records.get(Kind::Revocation, &key).await?.is_some();
        Ok(self.told(&key, is_revoked, heard))
    }

    /// Hears what other processes revoke, for ever.
    pub(crate) async fn listen(&self) {
        let mut subscription = self.0.bus.subscribe(&[TOPIC]);
        loop {
            match subscription.next().await {
                Heard::Event { payload, .. } => self.remember(&payload),
                Heard::Resync => self.lock().clear(),
            }
        }
    }

    /// What holds after Redis has said `is_revoked`, asked when `heard` revocations had been heard of. What was revoked since is
    /// newer than its answer.
    fn told(&self, key: &str, is_revoked: bool, heard: u64) -> bool {
        if is_revoked {
            self.remember(key);
            return true;
        }
        let mut remembered = self.lock();
        let known = remembered.get(key).is_some_and(|known| known.is_revoked && known.at.elapsed() < BELIEVED);
        if self.0.heard.load(Ordering::Acquire) == heard && !known {
            Self::insert(&mut remembered, key, false);
        }
        known
    }

    /// It was revoked.
    fn remember(&self, key: &str) {
        if self.0.records.are_near() {
            return;
        }
        let mut remembered = self.lock();
        self.0.heard.fetch_add(1, Ordering::Release);
        Self::insert(&mut remembered, key, true);
    }

    fn insert(remembered: &mut HashMap<String, Answer>, key: &str, is_revoked: bool) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, connection, metrics};

    #[tokio::test]
    async fn an_answer_of_redis_from_before_does_not_undo_a_revocation() {
        let server = task_mcp_test_servers::RedisServer::start();
        let records = Records::remote(connection(&server), BASE, Duration::from_secs(5), metrics());
        let revocations = Revocations::new(records, Bus::new(None, metrics()));
        let heard = revocations.0.heard.load(Ordering::Acquire);
        // Redis has said "not revoked" by now, and the asker has not gone on yet.
        revocations.remember("key");
        assert!(revocations.told("key", false, heard), "what was revoked meanwhile is newer");
        assert!(revocations.lock().get("key").is_some_and(|answer| answer.is_revoked));
    }
}

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
use crate::records::{Kind, Record, Records, now_ms};

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
    /// When it was heard.
    at: Instant,
    /// How long it is believed from then on: no longer than the revocation lasts.
    believed: Duration,
}

impl Answer {
    fn new(is_revoked: bool, lasts: Duration) -> Self {
        Self { is_revoked, at: Instant::now(), believed: lasts.min(BELIEVED) }
    }

    fn is_believed(&self) -> bool {
        self.at.elapsed() < self.believed
    }
}

impl Revocations {
    pub(crate) fn new(records: Records, bus: Bus) -> Self {
        Self(Arc::new(Parts { records, bus, remembered: Mutex::default() }))
    }

    /// From when this has returned, `name` is not accepted by this process, nor by any other that shares the records;
    /// with Redis, where others ask it once a second, nor after a second. Until `ttl` is over: it should have ended by
    /// itself then.
    ///
    /// # Errors
    /// It is not certain to be kept.
    pub async fn revoke(&self, name: &str, ttl: Duration) -> Result<(), StateError> {
        let key = key_of(name);
        self.0.records.put(Kind::Revocation, &key, Vec::new(), ttl).await?;
        self.remember(&key, Answer::new(true, ttl));
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
        let asked = Instant::now();
        let known = self.lock().get(&key).copied();
        if let Some(known) = known.filter(Answer::is_believed) {
            return Ok(known.is_revoked);
        }
        let found = self.0.records.get(Kind::Revocation, &key).await?;
        let lasts = found.as_ref().map_or(BELIEVED, lasts);
        Ok(self.remember(&key, Answer { at: asked, ..Answer::new(found.is_some(), lasts) }))
    }

    /// Hears what other processes revoke, for ever.
    pub(crate) async fn listen(&self) {
        let mut subscription = self.0.bus.subscribe(&[TOPIC]);
        loop {
            match subscription.next().await {
                // How long it lasts is not said; it is asked again when this is not believed any more.
                Heard::Event { payload, .. } => drop(self.remember(&payload, Answer::new(true, BELIEVED))),
                Heard::Resync => self.lock().clear(),
            }
        }
    }

    /// Remembers an answer, unless a revocation was heard of after it was asked for; whether it is revoked.
    fn remember(&self, key: &str, answer: Answer) -> bool {
        if self.0.records.are_near() {
            return answer.is_revoked;
        }
        let mut remembered = self.lock();
        let later = remembered.get(key).filter(|known| known.at > answer.at && known.is_believed());
        if later.is_some_and(|later| later.is_revoked) {
            return true;
        }
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, answer| answer.is_believed());
        }
        if remembered.len() < REMEMBERED {
            remembered.insert(key.to_owned(), answer);
        } else {
            remembered.remove(key);
        }
        answer.is_revoked
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Answer>> {
        self.0.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a record still lasts.
fn lasts(record: &Record) -> Duration {
    Duration::from_millis(record.end_ms.saturating_sub(now_ms()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use task_mcp_test_servers::RedisServer;

    use super::*;
    use crate::testing::{BASE, connection, metrics};

    #[tokio::test]
    async fn what_was_revoked_while_it_was_asked_for_stays_so() {
        let server = RedisServer::start();
        let records = Records::remote(connection(&server), BASE, Duration::from_secs(20), metrics());
        let revocations = Revocations::new(records, Bus::new(None, metrics()));
        let asked = Instant::now();
        revocations.revoke("token", Duration::from_secs(60)).await.unwrap();
        let key = key_of("token");
        assert!(revocations.remember(&key, Answer { at: asked, ..Answer::new(false, BELIEVED) }), "it is older");
        assert!(revocations.lock().get(&key).unwrap().is_revoked);
        let shorter = Answer::new(true, Duration::ZERO);
        assert!(!shorter.is_believed(), "no longer than the revocation lasts");
    }
}

//! What other processes compute at this moment, as far as this one was told.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Key;

/// Keys that are remembered; for one beyond that the tier is asked each time.
const MAX_KEYS: usize = 4_096;

/// Keys whose lease another process has, and until when nobody needs to ask for it.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    until: Mutex<HashMap<Key, Instant>>,
}

impl Elsewhere {
    /// Another process has the lease of this key, for so long if it is not renewed.
    pub(super) fn note(&self, key: Key, left: Duration) {
        let now = Instant::now();
        let Some(end) = now.checked_add(left) else { return };
        let mut until = self.lock();
        if until.len() >= MAX_KEYS && !until.contains_key(&key) {
            until.retain(|_, end| *end > now);
        }
        if until.len() < MAX_KEYS || until.contains_key(&key) {
            until.insert(key, end);
        }
    }

    /// Whether another process has the lease of this key still, as far as is known.
    pub(super) fn computes(&self, key: &Key) -> bool {
        let mut until = self.lock();
        match until.get(key) {
            Some(end) if *end > Instant::now() => true,
            Some(_) => {
                until.remove(key);
                false
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn as_many_keys_as_allowed_are_remembered_for_as_long_as_their_leases_last() {
        let elsewhere = Elsewhere::default();
        let keys = |from: usize, to: usize| (from..to).map(|number| Key::of(&[&number.to_le_bytes()]));
        let (short, long) = (Duration::from_millis(10), Duration::from_millis(30));
        keys(0, MAX_KEYS / 2).for_each(|key| elsewhere.note(key, short));
        keys(MAX_KEYS / 2, MAX_KEYS + 1).for_each(|key| elsewhere.note(key, long));
        assert_eq!(keys(0, MAX_KEYS + 1).filter(|key| elsewhere.computes(key)).count(), MAX_KEYS);
        tokio::time::sleep(short).await;
        keys(MAX_KEYS, MAX_KEYS + 1).for_each(|key| elsewhere.note(key, long));
        assert_eq!(elsewhere.lock().len(), MAX_KEYS / 2 + 1, "those that are over make room");
        assert_eq!(keys(0, MAX_KEYS + 1).filter(|key| elsewhere.computes(key)).count(), MAX_KEYS / 2 + 1);
        tokio::time::sleep(long).await;
        assert_eq!(keys(0, MAX_KEYS + 1).filter(|key| elsewhere.computes(key)).count(), 0);
        assert!(elsewhere.lock().is_empty());
    }
}

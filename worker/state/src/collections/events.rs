//! What a stream said, kept for those who come back and ask what came after an event they know.
//!
//! Events of a stream have consecutive numbers: each takes the next one by inserting its record, which only one caller can, so
//! that no event ever appears before one that was read already. Numbers of a stream that was forgotten are not used again: the first one
//! is taken from the clock, and agreed upon in a record of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::key_of;
use crate::StateError;
use crate::records::{Inserted, Kind, LIST_MAX, Records, Unreadable, now_ms};

/// Events kept of one stream; older ones go.
pub const EVENTS_MAX: u64 = 512;
/// How often an event tries to get a number.
const TRIES: usize = 64;
/// Streams whose last number is remembered by a process.
const REMEMBERED: usize = 16_384;
/// Numbers a stream may use in a millisecond before a later stream of the same name could have one of them.
const NUMBERS_PER_MS: u64 = 256;
/// How long the beginning of a stream is agreed upon. Events live longer, so that as long as it is there they are too.
const AGREED: Duration = Duration::from_secs(60);
const TTL_MIN: Duration = Duration::from_secs(120);

/// Events of streams. Cloning is cheap and shares what is remembered.
#[derive(Debug, Clone)]
pub struct Events {
    records: Records,
    /// A number each stream had used when this process last looked.
    last: Arc<Mutex<HashMap<String, u64>>>,
}

/// What came after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// Numbers and payloads, the oldest first.
    pub events: Vec<(u64, Bytes)>,
    /// Whether nothing between is known to be lost: the event asked about, or the one right after it, is still kept.
    pub is_complete: bool,
}

impl Events {
    pub(crate) fn new(records: Records) -> Self {
        Self { records, last: Arc::default() }
    }

    /// Adds an event to the stream of that name, of any length: its number, above those of all before. It is kept for `ttl`, but no
    /// less than two minutes, and until 512 others have come.
    ///
    /// # Errors
    /// It cannot be kept.
    pub async fn append(&self, stream: &str, payload: Bytes, ttl: Duration) -> Result<u64, StateError> {
        let stream = key_of(stream);
        for _ in 0..TRIES {
            // The remembered one is looked for too: if it has ended, others may have begun anew.
            let seen = self.remembered(&stream).map_or(0, |last| last.saturating_sub(1));
            let last = match self.last_after(&stream, seen).await? {
                Some(last) => last,
                None => self.begin(&stream).await?,
            };
            let number = last.saturating_add(1);
            let ttl = ttl.max(TTL_MIN);
            let inserted = self.records.insert(Kind::Event, &key(&stream, number), payload.clone(), ttl).await?;
            self.remember(&stream, number);
            if matches!(inserted, Inserted::New(_)) {
                if let Some(oldest) = number.checked_sub(EVENTS_MAX) {
                    // Mostly there is none: then it costs a look.
                    let oldest = key(&stream, oldest);
                    if self.records.get(Kind::Event, &oldest).await?.is_some() {
                        self.records.take(Kind::Event, &oldest).await?;
                    }
                }
                return Ok(number);
            }
        }
        Err(StateError::Contended)
    }

    /// Forgets one event of the stream; one that is not kept is no error.
    ///
    /// # Errors
    /// It cannot be forgotten.
    pub async fn forget(&self, stream: &str, number: u64) -> Result<(), StateError> {
        self.records.take(Kind::Event, &key(&key_of(stream), number)).await?;
        Ok(())
    }

    /// Up to `limit` events of the stream after `number`.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn after(&self, stream: &str, number: u64, limit: usize) -> Result<Resumed, StateError> {
        let stream = key_of(stream);
        let prefix = key_prefix(&stream);
        let found = self.records.list(Kind::Event, &prefix, &key(&stream, number), limit).await?;
        let mut events = Vec::with_capacity(found.len());
        for (key, record) in found {
            events.push((number_of(&key)?, record.value));
        }
        let follows = events.first().is_some_and(|(first, _)| *first == number.saturating_add(1));
        let is_complete = follows || self.records.get(Kind::Event, &key(&stream, number)).await?.is_some();
        Ok(Resumed { events, is_complete })
    }

    /// The last number in use after `number`, if there is one.
    async fn last_after(&self, stream: &str, number: u64) -> Result<Option<u64>, StateError> {
        let prefix = key_prefix(stream);
        let mut last = None;
        loop {
            let after = key(stream, last.unwrap_or(number));
            let found = self.records.list(Kind::Event, &prefix, &after, LIST_MAX).await?;
            let Some((key, _)) = found.last() else { return Ok(last) };
            last = Some(number_of(key)?);
        }
    }

    /// Agrees with all others on the number before the first.
    async fn begin(&self, stream: &str) -> Result<u64, StateError> {
        let wish = now_ms().saturating_mul(NUMBERS_PER_MS);
        Ok(match self.records.insert(Kind::Stream, stream, wish.to_be_bytes().to_vec(), AGREED).await? {
            Inserted::New(_) => wish,
            Inserted::Exists(record) => {
                let agreed = record.value.as_ref().try_into().map_err(|_| StateError::Unreadable(Unreadable))?;
                u64::from_be_bytes(agreed)
            }
        })
    }

    fn remembered(&self, stream: &str) -> Option<u64> {
        self.lock().get(stream).copied()
    }

    fn remember(&self, stream: &str, number: u64) {
        let mut last = self.lock();
        if last.len() >= REMEMBERED && !last.contains_key(stream) {
            // What is forgotten is looked for again.
            last.clear();
        }
        last.insert(stream.to_owned(), number);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_prefix(stream: &str) -> String {
    format!("{stream}/")
}

/// Sixteen hexadecimal digits, so that the order of keys is that of numbers.
fn key(stream: &str, number: u64) -> String {
    format!("{stream}/{number:016x}")
}

fn number_of(key: &str) -> Result<u64, StateError> {
    let digits = key.rsplit('/').next().unwrap_or_default();
    u64::from_str_radix(digits, 16).map_err(|_| StateError::Unreadable(Unreadable))
}

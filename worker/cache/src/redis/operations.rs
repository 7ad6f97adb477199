//! What operators ask of the tier. It goes through the keys in steps (SCAN), so that no single command holds the server
//! up.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use redis::pipe;
use task_mcp_redis::{Answer, RedisError};

use super::RedisTier;
use super::answers::{self, Field};
use super::keys::INCARNATION;
use super::machine::of_server;
use crate::CacheError;
use crate::entry::{Freshness, Sealed, freshness, unix_ms};
use crate::operations::{Inspected, Stats};
use crate::pattern::matches;

/// How long one step may take. An operator waits for it, no call does.
const STEP: Duration = Duration::from_secs(1);

/// Keys the server looks at in one step: a millisecond or less of its time.
const STEP_KEYS: usize = 500;

/// How long entries are counted before it is given up; a server shared with others may hold a great many keys.
const COUNT_FOR: Duration = Duration::from_secs(2);

/// So much of an entry holds its name and the stamps of some hundred tags.
const HEAD_BYTES: usize = 8 * 1024;

/// An entry without its body.
struct Head {
    name: String,
    error: bool,
    incarnation: u64,
    epochs: Vec<(u16, u64)>,
    created_ms: u64,
    fresh: Duration,
    stale: Duration,
}

impl RedisTier {
    /// What it holds. Entries are counted, for a while; the server's memory is not the cache's alone.
    pub(crate) async fn stats(&self) -> Stats {
        let mut stats = Stats::of(self.health());
        let began = Instant::now();
        let (mut cursor, mut count) = (0, 0);
        while began.elapsed() < COUNT_FOR {
            let Ok((next, keys)) = self.scan(cursor).await else { return stats };
            count += keys.len() as u64;
            if next == 0 {
                stats.entries = Some(count);
                return stats;
            }
            cursor = next;
        }
        stats
    }

    /// At most `limit` entries whose key or name matches.
    ///
    /// # Errors
    /// Redis does not answer.
    pub(crate) async fn inspect(&self, pattern: &str, limit: usize) -> Result<Vec<Inspected>, CacheError> {
        let (incarnation, epochs) = self.present().await?;
        let (mut cursor, mut found) = (0, Vec::new());
        loop {
            let (next, keys) = self.scan(cursor).await?;
            for (key, stored_bytes, left_ms, head) in self.heads(&keys).await? {
                let Some(head) = head.filter(|head| matches(pattern, &key) || matches(pattern, &head.name)) else {
                    continue;
                };
                if found.len() >= limit {
                    return Ok(found);
                }
                let epoch = |cell: u16| {
                    epochs.get(cell.to_string().as_bytes()).and_then(|bytes| answers::number(bytes)).unwrap_or(0_u64)
                };
                let valid =
                    head.incarnation == incarnation && head.epochs.iter().all(|(cell, then)| epoch(*cell) == *then);
                let lives = head.fresh.saturating_add(head.stale);
                let age = u64::try_from(left_ms).map_or_else(
                    |_| Duration::from_millis(unix_ms().saturating_sub(head.created_ms)),
                    |left_ms| lives.saturating_sub(Duration::from_millis(left_ms)),
                );
                let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                let state = match freshness(0, head.fresh, head.stale, age_ms) {
                    _ if !valid => "invalidated",
                    Freshness::Fresh(_) => "fresh",
                    Freshness::Stale(_) => "stale",
                    Freshness::Over => "over",
                };
                found.push(Inspected { key, name: head.name, state, age_ms, stored_bytes, error: head.error });
            }
            if next == 0 {
                return Ok(found);
            }
            cursor = next;
        }
    }

    /// Removes the entries whose key or name matches, and tells how many there were. The same entries in the memories
    /// of all processes go with them: the epochs of their tags move on, so other entries with these tags go too. `*`
    /// begins another incarnation, so all are gone before the first is removed.
    ///
    /// # Errors
    /// Redis does not answer; some may have been removed.
    pub(crate) async fn invalidate_pattern(&self, pattern: &str) -> Result<u64, CacheError> {
        let all = pattern == "*";
        if all {
            self.end_incarnation().await?;
        }
        let (mut cursor, mut removed) = (0, 0);
        loop {
            let (next, keys) = self.scan(cursor).await?;
            let keys = if all { keys } else { self.invalidate_matching(pattern, &keys).await? };
            if !keys.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(&keys);
                let answer: Answer<u64> = self.redis.ask(unlink, STEP).await.map_err(refused)?;
                removed += answer.value;
            }
            if next == 0 {
                return Ok(removed);
            }
            cursor = next;
        }
    }

    /// Moves the epochs of the matching ones among these entries on, and tells which they are.
    async fn invalidate_matching(&self, pattern: &str, keys: &[String]) -> Result<Vec<String>, CacheError> {
        let (mut matching, mut cells, mut untagged) = (Vec::new(), BTreeSet::new(), false);
        for (place, (key, _, _, head)) in keys.iter().zip(self.heads(keys).await?) {
            let name = head.as_ref().map(|head| head.name.as_str()).unwrap_or_default();
            if matches(pattern, &key) || matches(pattern, name) {
                matching.push(place.clone());
                let epochs = head.map(|head| head.epochs).unwrap_or_default();
                untagged |= epochs.is_empty();
                cells.extend(epochs.into_iter().map(|(cell, _)| usize::from(cell)));
            }
        }
        if untagged {
            // No epoch could say that they are gone.
            self.end_incarnation().await?;
        } else {
            // Nothing was written, so the local epochs stay and nothing new is told.
            let cells: Vec<_> = cells.into_iter().map(|cell| (cell, 0)).collect();
            self.tell(&cells, STEP).await.map_err(|_| not_now())?;
        }
        Ok(matching)
    }

    async fn end_incarnation(&self) -> Result<(), CacheError> {
        self.memory.clear();
        let mut get = redis::cmd("HGET");
        get.arg(&self.keys.epochs).arg(INCARNATION);
        let present: Answer<Field> = self.redis.ask(get, STEP).await.map_err(refused)?;
        self.renew_epochs(present.value, (&[], false), STEP).await.map(|_| ()).map_err(|_| not_now())
    }

    /// The incarnation and the epochs that lie in Redis.
    async fn present(&self) -> Result<(u64, HashMap<Vec<u8>, Vec<u8>>), CacheError> {
        let mut all = redis::cmd("HGETALL");
        all.arg(&self.keys.epochs);
        let answer: Answer<HashMap<Vec<u8>, Vec<u8>>> = self.redis.ask(all, STEP).await.map_err(refused)?;
        let incarnation = answer.value.get(INCARNATION.as_bytes()).and_then(|bytes| answers::incarnation(bytes));
        Ok((incarnation.map_or(0, |number| of_server(number, answer.server)), answer.value))
    }

    /// One step through the keys: where to go on (0 is the end), and the entries' places.
    async fn scan(&self, cursor: u64) -> Result<(u64, Vec<String>), CacheError> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(self.keys.every_entry()).arg("COUNT").arg(STEP_KEYS);
        let answer: Answer<(u64, Vec<String>)> = self.redis.ask(scan, STEP).await.map_err(refused)?;
        Ok(answer.value)
    }

    /// Of each entry: its key, its size, milliseconds left, and its head if it is one of this version.
    async fn heads(&self, places: &[String]) -> Result<Vec<(String, u64, i64, Option<Head>)>, CacheError> {
        let mut heads = Vec::with_capacity(places.len());
        // Three commands each, and a connection bears a limited number at a time.
        for places in places.chunks(100) {
            let mut commands = pipe();
            for place in places {
                commands.cmd("STRLEN").arg(place);
                commands.cmd("PTTL").arg(place);
                commands.cmd("GETRANGE").arg(place).arg(0).arg(HEAD_BYTES);
            }
            let answer: Answer<Vec<redis::Value>> = self.redis.ask(commands, STEP).await.map_err(refused)?;
            for (place, parts) in places.iter().zip(answer.value.chunks_exact(3)) {
                let [bytes, left_ms, head] = parts else { continue };
                let bytes = redis::from_redis_value_ref(bytes).unwrap_or(0);
                let left_ms = redis::from_redis_value_ref(left_ms).unwrap_or(-1);
                let head: Vec<u8> = redis::from_redis_value_ref(head).unwrap_or_default();
                let key = place.rsplit_once(':').map_or_else(String::new, |(_, key)| key.to_owned());
                heads.push((key, bytes, left_ms, Sealed::find(&head).ok().map(Head::from)));
            }
        }
        Ok(heads)
    }
}

impl From<Sealed<'_>> for Head {
    fn from(sealed: Sealed<'_>) -> Self {
        Self {
            name: sealed.name(),
            error: sealed.is_error(),
            incarnation: sealed.incarnation,
            epochs: sealed.epochs().collect(),
            created_ms: sealed.created_ms,
            fresh: sealed.fresh,
            stale: sealed.stale,
        }
    }
}

fn refused(error: RedisError) -> CacheError {
    match error {
        RedisError::Timeout { .. } => CacheError::Timeout,
        other => CacheError::Unavailable { reason: other.to_string() },
    }
}

fn not_now() -> CacheError {
    CacheError::Unavailable { reason: "Redis does not let the tag epochs move on".to_owned() }
}

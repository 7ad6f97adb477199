//! What operators ask of the file.

use std::sync::Arc;
use std::time::Duration;

use super::Embedded;
use super::data_file::Seen;
use super::shared::Shared;
use crate::entry::{Freshness, Sealed, freshness, unix_ms};
use crate::operations::{Inspected, Stats};
use crate::pattern::matches;
use crate::{CacheError, Key};

/// Entries one transaction looks at, so that it is short: pages it sees cannot be used again meanwhile.
const SCANNED: usize = 1024;
/// Entries one job of the writer removes.
const REMOVED: usize = 256;
/// How long an operator waits for one such step.
const PATIENCE: Duration = Duration::from_secs(2);

impl Embedded {
    pub(crate) async fn stats(&self) -> Stats {
        let shared = Arc::clone(&self.shared);
        let usage = aside(move || {
            let file = shared.file()?;
            file.as_ref()?.usage().ok()
        })
        .await
        .ok()
        .flatten();
        Stats {
            health: self.health(),
            entries: usage.map(|usage| usage.entries),
            used_bytes: usage.map(|usage| usage.bytes),
            max_bytes: Some(self.shared.max_bytes()),
        }
    }

    pub(crate) async fn inspect(&self, pattern: &str, limit: usize) -> Result<Vec<Inspected>, CacheError> {
        let (mut found, mut after) = (Vec::new(), None);
        while found.len() < limit {
            let (shared, pattern) = (Arc::clone(&self.shared), pattern.to_owned());
            let (seen, last) =
                aside(move || scan(&shared, after, |shared, seen| inspected(shared, &pattern, seen))).await??;
            found.extend(seen);
            after = last;
            if last.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    pub(crate) async fn invalidate_pattern(&self, pattern: &str) -> Result<u64, CacheError> {
        let Some(writer) = &self.writer else {
            return Err(CacheError::Unavailable { reason: "nothing can be stored".to_owned() });
        };
        let (mut removed, mut after) = (0, None);
        loop {
            let (shared, wanted) = (Arc::clone(&self.shared), pattern.to_owned());
            let (keys, last) =
                aside(move || scan(&shared, after, |_, seen| named(&wanted, &seen).map(|_| seen.key))).await??;
            for keys in keys.chunks(REMOVED) {
                removed += writer.remove(keys.to_vec(), PATIENCE).await.map_err(|_| CacheError::Timeout)?;
            }
            after = last;
            if last.is_none() {
                return Ok(removed);
            }
        }
    }
}

/// Runs what may wait for a disk on a thread that may.
async fn aside<R: Send + 'static>(what: impl FnOnce() -> R + Send + 'static) -> Result<R, CacheError> {
    match tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(what)).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(CacheError::Unavailable { reason: error.to_string() }),
        Err(_) => Err(CacheError::Timeout),
    }
}

fn scan<R>(
    shared: &Arc<Shared>,
    after: Option<Key>,
    mut with: impl FnMut(&Shared, Seen<'_>) -> Option<R>,
) -> Result<(Vec<R>, Option<Key>), CacheError> {
    let unavailable = || CacheError::Unavailable {
        reason: shared.standing.health().reason.unwrap_or_else(|| "its file is being opened".to_owned()),
    };
    let file = shared.file().ok_or_else(unavailable)?;
    let file = file.as_ref().ok_or_else(unavailable)?;
    let mut found = Vec::new();
    let last = file.scan(after.as_ref(), SCANNED, |seen| found.extend(with(shared, seen)));
    last.map(|last| (found, last)).map_err(|error| CacheError::Unavailable { reason: error.to_string() })
}

fn named<'a>(pattern: &str, seen: &Seen<'a>) -> Option<(String, Option<Sealed<'a>>)> {
    // What is no entry has a key all the same, by which it can be removed.
    let sealed = Sealed::find(seen.bytes).ok();
    let name = sealed.map(|sealed| sealed.name()).unwrap_or_default();
    (matches(pattern, &name) || matches(pattern, &seen.key.to_string())).then_some((name, sealed))
}

fn inspected(shared: &Shared, pattern: &str, seen: Seen<'_>) -> Option<Inspected> {
    let (name, sealed) = named(pattern, &seen)?;
    let sealed = sealed?;
    let now_ms = unix_ms();
    let invalidated = sealed.epochs().any(|(cell, epoch)| shared.epochs.of_cell(cell.into()) != epoch);
    let state = match freshness(sealed.created_ms, sealed.fresh, sealed.stale, now_ms) {
        _ if invalidated => "invalidated",
        Freshness::Fresh(_) => "fresh",
        Freshness::Stale(_) => "stale",
        Freshness::Over => "over",
    };
    Some(Inspected {
        key: seen.key.to_string(),
        name,
        state,
        age_ms: now_ms.saturating_sub(sealed.created_ms),
        stored_bytes: seen.bytes.len() as u64,
        error: sealed.is_error(),
    })
}

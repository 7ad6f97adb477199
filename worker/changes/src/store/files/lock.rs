//! The lock of a change: who works on it, and until when.
//!
//! It lies outside `changes/`, so that taking it moves no change to the top of the CLI's list.

use std::fs;

use serde::{Deserialize, Serialize};

use super::Core;
use crate::error::ChangesError;
use crate::store::{LockView, Slug};
use crate::text::iso_ms;
use crate::tree::remove_if_there;

/// Longest life of a lock in seconds.
pub(super) const TTL_MAX_S: u64 = 86_400;

/// How far ahead the clock of another machine may be.
const SKEW_MS: i64 = 60_000;

/// The file: `since` in milliseconds since the epoch, `ttl` in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lock {
    pub(super) owner: String,
    since: i64,
    ttl: u64,
}

impl Lock {
    fn ends_ms(&self) -> i64 {
        self.since.saturating_add(i64::try_from(self.ttl).unwrap_or(i64::MAX).saturating_mul(1000))
    }

    pub(super) fn view(&self) -> LockView {
        let (since, expires_at) = (iso_ms(self.since), iso_ms(self.ends_ms()));
        LockView { owner: self.owner.clone(), since, ttl: self.ttl, expires_at }
    }
}

impl Core {
    /// The live lock of a change; an expired or unreadable one is none. The file lies in the tree, so one that says what no
    /// tool writes counts as unreadable: it might hold for ever.
    pub(super) fn live_lock(&self, slug: &Slug) -> Option<Lock> {
        let path = self.private_if_there("locks")?.join(lock_name(slug));
        let text = self.tree.reader().read(&path).ok()?;
        let lock: Lock = serde_json::from_str(&text).ok()?;
        let now = self.clock.now().as_millisecond();
        let sound = lock.ttl <= TTL_MAX_S && lock.since <= now.saturating_add(SKEW_MS);
        (sound && lock.ends_ms() > now).then_some(lock)
    }

    /// Refuses if somebody else holds the lock.
    pub(super) fn check_lock(&self, slug: &Slug, principal: &str) -> Result<(), ChangesError> {
        let Some(lock) = self.live_lock(slug).filter(|lock| lock.owner != principal) else { return Ok(()) };
        let LockView { owner, since, ttl, expires_at } = lock.view();
        Err(ChangesError::Locked { slug: slug.to_string(), owner, since, ttl, expires_at })
    }

    /// Takes or refreshes the lock. The caller has checked it and holds the write guard, so nobody comes in between.
    pub(super) fn take_lock(&self, slug: &Slug, principal: &str, ttl: u64) -> Result<Lock, ChangesError> {
        let step = ChangesError::io("writing the lock");
        let lock = Lock { owner: principal.to_owned(), since: self.clock.now().as_millisecond(), ttl };
        let path = self.private_dir("locks")?.join(lock_name(slug));
        let text = serde_json::to_vec_pretty(&lock).map_err(|error| step(error.into()))?;
        // A folder of that name is an unreadable lock, but no rename replaces it.
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            fs::remove_dir_all(&path).map_err(&step)?;
        }
        self.tree.replace_file(&path, &text).map_err(&step)?;
        Ok(lock)
    }

    /// Lets go of the lock; a missing one is fine.
    pub(super) fn drop_lock(&self, slug: &Slug) {
        let Some(dir) = self.private_if_there("locks") else { return };
        if let Err(error) = remove_if_there(&dir.join(lock_name(slug))) {
            tracing::warn!(%slug, %error, "The lock of a change could not be removed; it expires by itself.");
        }
    }
}

fn lock_name(slug: &Slug) -> String {
    format!("{slug}.json")
}

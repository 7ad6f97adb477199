//! The lock of a change: who works on it, and until when.
//!
//! It lies outside `changes/`, so that taking it moves no change to the top of the CLI's list.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Core;
use crate::error::ChangesError;
use crate::store::{LockView, Slug};
use crate::text::iso_ms;
use crate::tree::replace_file;

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
    /// The live lock of a change; an expired or unreadable one is none.
    pub(super) fn live_lock(&self, slug: &Slug) -> Option<Lock> {
        let text = self.tree.reader().read(&self.lock_path(slug)).ok()?;
        let lock: Lock = serde_json::from_str(&text).ok()?;
        (lock.ends_ms() > self.clock.now().as_millisecond()).then_some(lock)
    }

    /// Refuses if somebody else holds the lock.
    pub(super) fn check_lock(&self, slug: &Slug, principal: &str) -> Result<(), ChangesError> {
        let Some(lock) = self.live_lock(slug).filter(|lock| lock.owner != principal) else { return Ok(()) };
        let LockView { owner, since, ttl, expires_at } = lock.view();
        Err(ChangesError::Locked { slug: slug.to_string(), owner, since, ttl, expires_at })
    }

    /// Takes or refreshes the lock. The caller holds the write guard, so nobody comes between check and write.
    pub(super) fn take_lock(&self, slug: &Slug, principal: &str, ttl: u64) -> Result<Lock, ChangesError> {
        self.check_lock(slug, principal)?;
        let step = ChangesError::io("writing the lock");
        let lock = Lock { owner: principal.to_owned(), since: self.clock.now().as_millisecond(), ttl };
        self.private_dir("locks").map_err(&step)?;
        let text = serde_json::to_vec_pretty(&lock).map_err(|error| step(error.into()))?;
        replace_file(&self.lock_path(slug), &text).map_err(&step)?;
        Ok(lock)
    }

    /// Lets go of the lock; a missing one is fine.
    pub(super) fn drop_lock(&self, slug: &Slug) {
        match fs::remove_file(self.lock_path(slug)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%slug, %error, "The lock of a change could not be removed; it expires by itself.");
            }
            _ => {}
        }
    }

    /// A folder below our private one, which version control is told to ignore.
    pub(super) fn private_dir(&self, name: &str) -> io::Result<PathBuf> {
        let dir = self.tree.private().join(name);
        if !dir.is_dir() {
            fs::create_dir_all(&dir)?;
            fs::write(self.tree.private().join(".gitignore"), "*\n")?;
        }
        if !self.tree.contains(&dir) {
            return Err(io::Error::other("the private folder leaves the tree"));
        }
        Ok(dir)
    }

    fn lock_path(&self, slug: &Slug) -> PathBuf {
        self.tree.private().join("locks").join(format!("{slug}.json"))
    }
}

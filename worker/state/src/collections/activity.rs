//! Who was here lately: for sessions that end when nobody uses them.

use std::time::Duration;

use super::key_of;
use crate::StateError;
use crate::records::{Kind, Records};

/// Who was here lately. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Activity(Records);

impl Activity {
    pub(crate) fn new(records: Records) -> Self {
        Self(records)
    }

    /// `name`, of any length, was here: it is known for `ttl` from now on.
    ///
    /// # Errors
    /// It cannot be kept.
    pub async fn seen(&self, name: &str, ttl: Duration) -> Result<(), StateError> {
        self.0.put(Kind::Activity, &key_of(name), Vec::new(), ttl).await.map(drop)
    }

    /// Whether `name` was here within the time that was given then.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn was_seen(&self, name: &str) -> Result<bool, StateError> {
        Ok(self.0.get(Kind::Activity, &key_of(name)).await?.is_some())
    }

    /// Forgets that `name` was here.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn forget(&self, name: &str) -> Result<(), StateError> {
        self.0.take(Kind::Activity, &key_of(name)).await.map(drop)
    }
}

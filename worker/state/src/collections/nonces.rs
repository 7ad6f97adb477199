//! What may be used once.

use std::time::Duration;

use super::key_of;
use crate::StateError;
use crate::records::{Inserted, Kind, Records};

/// What may be used once. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Nonces(Records);

impl Nonces {
    pub(crate) fn new(records: Records) -> Self {
        Self(records)
    }

    /// Uses `nonce`, of any length: true for the first caller, false for all others until `ttl` is over; it should not be
    /// acceptable any more then.
    ///
    /// # Errors
    /// It is not known: the nonce must not be accepted.
    pub async fn use_once(&self, nonce: &str, ttl: Duration) -> Result<bool, StateError> {
        let inserted = self.0.insert(Kind::Nonce, &key_of(nonce), Vec::new(), ttl).await?;
        Ok(matches!(inserted, Inserted::New(_)))
    }

    /// Makes `nonce` usable again, for the one who used it and came to nothing by it.
    ///
    /// # Errors
    /// It may stay used.
    pub async fn give_back(&self, nonce: &str) -> Result<(), StateError> {
        self.0.take(Kind::Nonce, &key_of(nonce)).await.map(|_| ())
    }
}

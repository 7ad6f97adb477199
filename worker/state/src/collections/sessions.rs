//! What a session changed after it began. All else is in its sealed id.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::key_of;
use crate::StateError;
use crate::records::{Inserted, Kind, Records, Unreadable};

/// Most subscriptions of one session: as many as `limits.subscriptions` takes.
const SUBSCRIPTIONS_MAX: usize = 1_000;
/// Longest URI of a subscription and longest level, in bytes.
const NAME_BYTES_MAX: usize = 2_048;
/// How often a change is tried anew because somebody else changed the session meanwhile.
const TRIES: usize = 16;

/// What a session changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Least severe log messages it wants (`logging/setLevel`).
    pub log_level: Option<String>,
    /// URIs of resources it watches (`resources/subscribe`).
    pub subscriptions: BTreeSet<String>,
}

/// The sessions that changed something. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Sessions(Records);

impl Sessions {
    pub(crate) fn new(records: Records) -> Self {
        Self(records)
    }

    /// What the session changed; nothing if it is not known.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn get(&self, id: &str) -> Result<Session, StateError> {
        let record = self.0.get(Kind::Session, &key_of(id)).await?;
        record.map_or(Ok(Session::default()), |record| read(&record.value))
    }

    /// Changes a session that ends after `ttl`, and gives it as it is then. `change` may be called more than once.
    ///
    /// # Errors
    /// Too many or too long subscriptions, or it cannot be kept.
    pub async fn change(
        &self,
        id: &str,
        ttl: Duration,
        mut change: impl FnMut(&mut Session),
    ) -> Result<Session, StateError> {
        let key = key_of(id);
        let mut stored = self.0.get(Kind::Session, &key).await?;
        for _ in 0..TRIES {
            let mut session = stored.as_ref().map_or(Ok(Session::default()), |record| read(&record.value))?;
            change(&mut session);
            check(&session)?;
            let bytes = serde_json::to_vec(&session).map_err(|_| StateError::Unreadable(Unreadable))?;
            match &stored {
                None => match self.0.insert(Kind::Session, &key, bytes, ttl).await? {
                    Inserted::New(_) => return Ok(session),
                    Inserted::Exists(record) => stored = Some(record),
                },
                Some(record) => {
                    if self.0.replace(Kind::Session, &key, record.version, bytes, Some(ttl)).await?.is_some() {
                        return Ok(session);
                    }
                    stored = self.0.get(Kind::Session, &key).await?;
                }
            }
        }
        Err(StateError::Contended)
    }

    /// Forgets what the session changed.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn forget(&self, id: &str) -> Result<(), StateError> {
        self.0.take(Kind::Session, &key_of(id)).await.map(drop)
    }
}

fn read(value: &[u8]) -> Result<Session, StateError> {
    serde_json::from_slice(value).map_err(|_| StateError::Unreadable(Unreadable))
}

fn check(session: &Session) -> Result<(), StateError> {
    let count = session.subscriptions.len();
    if count > SUBSCRIPTIONS_MAX {
        return Err(StateError::TooMany { what: "subscriptions", count, limit: SUBSCRIPTIONS_MAX });
    }
    for name in session.subscriptions.iter().chain(&session.log_level) {
        if name.len() > NAME_BYTES_MAX {
            let (what, bytes) = ("subscription", name.len());
            return Err(StateError::TooLarge { what, bytes, limit_bytes: NAME_BYTES_MAX });
        }
    }
    Ok(())
}

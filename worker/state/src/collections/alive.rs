//! Which tasks have not ended, and who runs them: small records beside those of the tasks, by which they are counted and looked after.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tasks::key;
use crate::StateError;
use crate::records::{Kind, LIST_MAX, Record, Records, Unreadable};

/// A task that had not ended when it was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alive {
    /// Whose it is.
    pub owner: String,
    /// Its id.
    pub id: String,
    /// Its place in the list.
    pub place: String,
    runner: String,
}

impl Alive {
    /// Who ran it then.
    pub(super) fn runner(&self) -> &str {
        &self.runner
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    owner: String,
    runner: String,
}

/// The tasks that have not ended.
#[derive(Debug, Clone)]
pub(super) struct AliveTasks(Records);

impl AliveTasks {
    pub(super) fn new(records: Records) -> Self {
        Self(records)
    }

    pub(super) async fn enter(&self, owner: &str, id: &str, runner: &str, ttl: Duration) -> Result<(), StateError> {
        let stored = Stored { owner: owner.to_owned(), runner: runner.to_owned() };
        let bytes = serde_json::to_vec(&stored).map_err(|_| StateError::Unreadable(Unreadable))?;
        self.0.put(Kind::Alive, &key(owner, id), bytes, ttl).await.map(drop)
    }

    /// What fails is made up for by whoever finds it in the list.
    pub(super) async fn leave(&self, owner: &str, id: &str) {
        let _ = self.0.take(Kind::Alive, &key(owner, id)).await;
    }

    /// Up to `limit` of all owners, after that place of the list.
    pub(super) async fn list(&self, after: &str, limit: usize) -> Result<Vec<Alive>, StateError> {
        let found = self.0.list(Kind::Alive, "", after, limit).await?;
        let read = |(place, record): (String, Record)| {
            let Stored { owner, runner } = serde_json::from_slice(&record.value).ok()?;
            let id = place.rsplit_once('/')?.1.to_owned();
            Some(Alive { owner, id, place, runner })
        };
        Ok(found.into_iter().filter_map(read).collect())
    }

    /// How many the owner has; no more than `most` are counted.
    pub(super) async fn count(&self, owner: &str, most: usize) -> Result<usize, StateError> {
        let (prefix, mut after, mut count) = (key(owner, ""), String::new(), 0);
        while count < most {
            let page = self.0.list(Kind::Alive, &prefix, &after, (most - count).min(LIST_MAX)).await?;
            let Some((last, _)) = page.last() else { break };
            after = last.clone();
            count += page.len();
        }
        Ok(count)
    }
}

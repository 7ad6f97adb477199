//! Tasks: work that outlives its request, so that any worker tells how it stands.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key_of;
use crate::StateError;
use crate::bus::Bus;
use crate::records::{Inserted, Kind, Record, Records, Unreadable, Version, now_ms};

/// Topics of tasks begin like this; the id follows.
const TOPIC: &str = "task/";

/// How a task stands, in the words of MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// It is being worked on.
    Working,
    /// It waits for the client.
    InputRequired,
    /// It is done.
    Completed,
    /// It could not be done.
    Failed,
    /// It was given up.
    Cancelled,
}

impl TaskStatus {
    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its name: 128 bits as hexadecimal digits, 80 of them random.
    pub id: String,
    /// How it stands.
    pub status: TaskStatus,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it was last changed, likewise.
    pub updated_ms: u64,
    /// When it is forgotten, likewise.
    pub end_ms: u64,
    /// What else is known of it: the request, its result.
    pub data: Value,
    version: Version,
}

/// What a new task is.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// How it stands.
    pub status: TaskStatus,
    /// How long it is kept.
    pub ttl: Duration,
    /// What else is known of it.
    pub data: Value,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    /// It was made.
    Made(Task),
    /// Somebody else changed the task meanwhile, or it had come to an end; as it is now.
    Refused(Task),
    /// There is no such task of this owner.
    Missing,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    status: TaskStatus,
    created_ms: u64,
    updated_ms: u64,
    data: Value,
}

/// The tasks. Cloning is cheap. An owner is whoever may see a task, by a name of any length; to others it does not exist.
#[derive(Debug, Clone)]
pub struct Tasks {
    records: Records,
    bus: Bus,
}

impl Tasks {
    pub(crate) fn new(records: Records, bus: Bus) -> Self {
        Self { records, bus }
    }

    /// Makes a task; it is kept when this returns.
    ///
    /// # Errors
    /// It cannot be kept.
    pub async fn create(&self, owner: &str, new: NewTask) -> Result<Task, StateError> {
        let created_ms = now_ms();
        let stored = Stored { status: new.status, created_ms, updated_ms: created_ms, data: new.data };
        let bytes = write(&stored)?;
        // In the order in which they were made.
        let id = format!("{:012x}{:020x}", created_ms & ((1 << 48) - 1), rand::random::<u128>() & ((1 << 80) - 1));
        match self.records.insert(Kind::Task, &key(owner, &id), bytes, new.ttl).await? {
            Inserted::New(_) => self.get(owner, &id).await?.ok_or(StateError::Contended),
            Inserted::Exists(_) => Err(StateError::Contended),
        }
    }

    /// The task of that id.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn get(&self, owner: &str, id: &str) -> Result<Option<Task>, StateError> {
        if !is_id(id) {
            return Ok(None);
        }
        let record = self.records.get(Kind::Task, &key(owner, id)).await?;
        record.map(|record| read(id, &record)).transpose()
    }

    /// Up to `limit` tasks of an owner that were made after the one of id `after` (empty: all), the oldest first.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn list(&self, owner: &str, after: &str, limit: usize) -> Result<Vec<Task>, StateError> {
        let prefix = key(owner, "");
        let after = if is_id(after) { key(owner, after) } else { String::new() };
        let found = self.records.list(Kind::Task, &prefix, &after, limit).await?;
        found.into_iter().map(|(key, record)| read(key.get(prefix.len()..).unwrap_or_default(), &record)).collect()
    }

    /// Changes a task that is still as `seen`. Only one of those who saw it the same succeeds, and what is final stays. Subscribers
    /// of the bus hear of it under `task/` and the id.
    ///
    /// # Errors
    /// It cannot be kept.
    pub async fn change(
        &self,
        owner: &str,
        seen: &Task,
        status: TaskStatus,
        data: Value,
    ) -> Result<Transition, StateError> {
        if !seen.status.is_final() {
            let stored = Stored { status, created_ms: seen.created_ms, updated_ms: now_ms(), data };
            let bytes = write(&stored)?;
            let key = key(owner, &seen.id);
            if let Some(version) = self.records.replace(Kind::Task, &key, seen.version, bytes, None).await? {
                // Ids are far below the limits of the bus.
                let _ = self.bus.publish(&format!("{TOPIC}{}", seen.id), "");
                let Stored { status, updated_ms, data, .. } = stored;
                return Ok(Transition::Made(Task { status, updated_ms, data, version, ..seen.clone() }));
            }
        }
        Ok(self.get(owner, &seen.id).await?.map_or(Transition::Missing, Transition::Refused))
    }
}

fn key(owner: &str, id: &str) -> String {
    format!("{}/{id}", key_of(owner))
}

/// Whether this may be the id of a task; what clients send may be anything.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn write(stored: &Stored) -> Result<Vec<u8>, StateError> {
    serde_json::to_vec(stored).map_err(|_| StateError::Unreadable(Unreadable))
}

fn read(id: &str, record: &Record) -> Result<Task, StateError> {
    let stored = serde_json::from_slice(&record.value).map_err(|_| StateError::Unreadable(Unreadable))?;
    let Stored { status, created_ms, updated_ms, data } = stored;
    let (end_ms, version) = (record.end_ms, record.version);
    Ok(Task { id: id.to_owned(), status, created_ms, updated_ms, end_ms, data, version })
}

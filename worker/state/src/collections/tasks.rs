//! Tasks: work that outlives its request, so that any worker tells how it stands. Beside each one that has not ended lies a small
//! record that says who runs it: by these, tasks are counted, and those whose process died are found.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key_of;
use crate::StateError;
use crate::bus::Bus;
use crate::records::{Inserted, Kind, LIST_MAX, Record, Records, Unreadable, Version, now_ms};
use crate::runner::Runner;

/// The bus tells of a change of a task under this and its id.
pub const TASK_TOPIC: &str = "task/";

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
    /// The process that runs it; empty if it waits for one.
    runner: String,
    version: Version,
}

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

/// Says to other processes that this one runs a task, until it is dropped.
#[derive(Debug)]
pub struct Running {
    runner: Runner,
    id: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runner.end(&self.id);
    }
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
    runner: String,
    data: Value,
}

#[derive(Serialize, Deserialize)]
struct StoredAlive {
    owner: String,
    runner: String,
}

/// The tasks. Cloning is cheap. An owner is whoever may see a task, by a name of any length; to others it does not exist.
#[derive(Debug, Clone)]
pub struct Tasks {
    records: Records,
    bus: Bus,
    runner: Runner,
}

impl Tasks {
    pub(crate) fn new(records: Records, bus: Bus, runner: Runner) -> Self {
        Self { records, bus, runner }
    }

    /// Makes a task that this process runs; it is kept when this returns. `limit` is how many of the owner's may be alive.
    ///
    /// # Errors
    /// [`StateError::TooMany`] if it would be one more than that; or it cannot be kept.
    pub async fn create(&self, owner: &str, new: NewTask, limit: usize) -> Result<(Task, Running), StateError> {
        let created_ms = now_ms();
        let runner = self.runner.full_name();
        let stored =
            Stored { status: new.status, created_ms, updated_ms: created_ms, runner: runner.clone(), data: new.data };
        let bytes = write(&stored)?;
        // In the order in which they were made.
        let id = format!("{:012x}{:020x}", created_ms & ((1 << 48) - 1), rand::random::<u128>() & ((1 << 80) - 1));
        let running = self.run(&id).await?;
        // It counts before it is counted, so that of many at a time none is too many.
        self.say_alive(owner, &id, &runner, new.ttl).await?;
        let kept = match self.count(owner, limit.saturating_add(1)).await {
            Ok(count) if count > limit => Err(StateError::TooMany { what: "tasks", count, limit }),
            Ok(_) => self.records.insert(Kind::Task, &key(owner, &id), bytes, new.ttl).await,
            Err(error) => Err(error),
        };
        match kept {
            Ok(Inserted::New(_)) => Ok((self.get(owner, &id).await?.ok_or(StateError::Contended)?, running)),
            Ok(Inserted::Exists(_)) => Err(StateError::Contended),
            Err(error) => {
                self.settle(owner, &id).await;
                Err(error)
            }
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
    /// of the bus hear of it under [`TASK_TOPIC`] and the id.
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
        self.replace(owner, seen, status, data, seen.runner.clone()).await
    }

    /// The same, and this process runs the task from now on. Say so first: [`Tasks::run`].
    ///
    /// # Errors
    /// As [`Tasks::change`].
    pub async fn claim(&self, owner: &str, seen: &Task, data: Value) -> Result<Transition, StateError> {
        self.replace(owner, seen, TaskStatus::Working, data, self.runner.full_name()).await
    }

    /// The same, and the task waits for another process to run it.
    ///
    /// # Errors
    /// As [`Tasks::change`].
    pub async fn hand_over(&self, owner: &str, seen: &Task, data: Value) -> Result<Transition, StateError> {
        self.replace(owner, seen, seen.status, data, String::new()).await
    }

    /// Says to others that this process runs the task, before it does.
    ///
    /// # Errors
    /// It cannot be said; the task must not be run then.
    pub async fn run(&self, id: &str) -> Result<Running, StateError> {
        self.runner.appear().await?;
        self.runner.begin(id);
        Ok(Running { runner: self.runner.clone(), id: id.to_owned() })
    }

    /// Whether this process is the one that runs the task.
    pub fn is_mine(&self, task: &Task) -> bool {
        task.runner == self.runner.full_name()
    }

    /// Whether the task was handed over, and nobody has taken it yet.
    pub fn is_handed_over(&self, task: &Task) -> bool {
        task.runner.is_empty()
    }

    /// Whether a process that lives runs the task.
    ///
    /// # Errors
    /// It cannot be found out.
    pub async fn is_run(&self, task: &Task) -> Result<bool, StateError> {
        self.runner.lives(&task.runner, &task.id).await
    }

    /// The same of one in the list: one that is run may be said not to be, if another process has just taken it.
    ///
    /// # Errors
    /// As [`Tasks::is_run`].
    pub async fn seems_run(&self, alive: &Alive) -> Result<bool, StateError> {
        self.runner.lives(&alive.runner, &alive.id).await
    }

    /// Up to `limit` tasks of all owners that have not ended, after that place of the list (empty: its beginning).
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn alive(&self, after: &str, limit: usize) -> Result<Vec<Alive>, StateError> {
        let found = self.records.list(Kind::Alive, "", after, limit).await?;
        let read = |(place, record): (String, Record)| {
            let StoredAlive { owner, runner } = serde_json::from_slice(&record.value).ok()?;
            let id = place.rsplit_once('/')?.1.to_owned();
            Some(Alive { owner, id, place, runner })
        };
        Ok(found.into_iter().filter_map(read).collect())
    }

    /// The task is not alive any more. What fails is made up for by whoever finds it among those alive.
    pub async fn settle(&self, owner: &str, id: &str) {
        let _ = self.records.take(Kind::Alive, &key(owner, id)).await;
    }

    async fn replace(
        &self,
        owner: &str,
        seen: &Task,
        status: TaskStatus,
        data: Value,
        runner: String,
    ) -> Result<Transition, StateError> {
        if !seen.status.is_final() {
            let stored = Stored { status, created_ms: seen.created_ms, updated_ms: now_ms(), runner, data };
            let bytes = write(&stored)?;
            let key = key(owner, &seen.id);
            if let Some(version) = self.records.replace(Kind::Task, &key, seen.version, bytes, None).await? {
                let Stored { status, updated_ms, runner, data, .. } = stored;
                let task = Task { status, updated_ms, data, runner, version, ..seen.clone() };
                self.told(owner, seen, &task).await;
                return Ok(Transition::Made(task));
            }
        }
        Ok(self.get(owner, &seen.id).await?.map_or(Transition::Missing, Transition::Refused))
    }

    /// Says what others are to know of a change that was made.
    async fn told(&self, owner: &str, before: &Task, task: &Task) {
        if task.status.is_final() {
            self.settle(owner, &task.id).await;
        } else if task.runner != before.runner {
            let rest = Duration::from_millis(task.end_ms.saturating_sub(now_ms()));
            // Whoever looks meanwhile reads the task itself before it does anything.
            let _ = self.say_alive(owner, &task.id, &task.runner, rest).await;
        }
        // Ids are far below the limits of the bus.
        let _ = self.bus.publish(&format!("{TASK_TOPIC}{}", task.id), "");
    }

    async fn say_alive(&self, owner: &str, id: &str, runner: &str, ttl: Duration) -> Result<(), StateError> {
        let stored = StoredAlive { owner: owner.to_owned(), runner: runner.to_owned() };
        let bytes = serde_json::to_vec(&stored).map_err(|_| StateError::Unreadable(Unreadable))?;
        self.records.put(Kind::Alive, &key(owner, id), bytes, ttl).await.map(drop)
    }

    /// How many of the owner's are alive; no more than `most` are counted.
    async fn count(&self, owner: &str, most: usize) -> Result<usize, StateError> {
        let (prefix, mut after, mut count) = (key(owner, ""), String::new(), 0);
        while count < most {
            let page = self.records.list(Kind::Alive, &prefix, &after, (most - count).min(LIST_MAX)).await?;
            let Some((last, _)) = page.last() else { break };
            after = last.clone();
            count += page.len();
        }
        Ok(count)
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
    let Stored { status, created_ms, updated_ms, runner, data } = stored;
    let (end_ms, version) = (record.end_ms, record.version);
    Ok(Task { id: id.to_owned(), status, created_ms, updated_ms, end_ms, runner, data, version })
}

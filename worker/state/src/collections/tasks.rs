//! Tasks: work that outlives its request, so that any worker tells how it stands. Beside each one that has not ended lies a small
//! record that says who runs it: by these, tasks are counted, and those whose process died are found.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::alive::{Alive, AliveTasks};
use super::key_of;
use crate::StateError;
use crate::bus::Bus;
use crate::records::{Inserted, Kind, Record, Records, Unreadable, Version, now_ms};
use crate::runner::{Runner, Running};

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

/// The tasks. Cloning is cheap. An owner is whoever may see a task, by a name of any length; to others it does not exist.
#[derive(Debug, Clone)]
pub struct Tasks {
    records: Records,
    alive: AliveTasks,
    bus: Bus,
    runner: Runner,
}

impl Tasks {
    pub(crate) fn new(records: Records, bus: Bus, runner: Runner) -> Self {
        Self { alive: AliveTasks::new(records.clone()), records, bus, runner }
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
        let running = self.runner.run(&id).await?;
        // It counts before it is counted, so that of many at a time none is too many.
        self.alive.enter(owner, &id, &runner, new.ttl).await?;
        let kept = match self.alive.count(owner, limit.saturating_add(1)).await {
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
        self.runner.run(id).await
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

    /// Those in the list that no process runs, as far as that can be found out now. One that is run may be among them, if another
    /// process has just taken it. Each process is looked for once, however many tasks it runs.
    pub async fn without_runner(&self, alive: &[Alive]) -> Vec<Alive> {
        let (mut others, mut without) = (HashMap::new(), Vec::new());
        let me = self.runner.full_name();
        for one in alive {
            let runner = one.runner();
            let known = others.get(runner).copied();
            let lives = match known {
                Some(lives) => lives,
                None => {
                    // What cannot be found out is found out at a later look.
                    let lives = self.runner.lives(runner, &one.id).await.unwrap_or(true);
                    // Of itself it knows which tasks it runs, at no cost.
                    if runner != me {
                        others.insert(runner, lives);
                    }
                    lives
                }
            };
            if !lives {
                without.push(one.clone());
            }
        }
        without
    }

    /// Up to `limit` tasks of all owners that have not ended, after that place of the list (empty: its beginning).
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn alive(&self, after: &str, limit: usize) -> Result<Vec<Alive>, StateError> {
        self.alive.list(after, limit).await
    }

    /// The task is not alive any more. What fails is made up for by whoever finds it among those alive.
    pub async fn settle(&self, owner: &str, id: &str) {
        self.alive.leave(owner, id).await;
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
            let _ = self.alive.enter(owner, &task.id, &task.runner, rest).await;
        }
        // Ids are far below the limits of the bus.
        let _ = self.bus.publish(&format!("{TASK_TOPIC}{}", task.id), "");
    }
}

/// The name of a task among those of all owners.
pub(super) fn key(owner: &str, id: &str) -> String {
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

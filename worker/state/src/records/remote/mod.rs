//! Records in Redis, for instances that share them.
//!
//! Keys begin with `{<prefix>:state}:`, so that all lie in one slot of a cluster; then the kind and the key of a record, or `names:`
//! or `ends:` and the kind, for two sorted sets with the names of its records. Redis ends a record by itself; its name is removed
//! with a later change. Changes are made by one script, `write.lua`, whole or not at all.
//!
//! Records are read with GETEX, which a replica refuses: what was just written is never missed because a former master is asked.

use std::time::Duration;

use redis::{Cmd, Pipeline};
use task_mcp_redis::{Redis, RedisError, Script};

use super::operation::{Change, Condition, Write, Written};
use super::record::{Kind, Record, Version, now_ms};
use crate::StateError;

/// Most rounds in which a list looks for records whose names are left.
const ROUNDS: usize = 16;
/// No key has it, as it is no byte of UTF-8: whatever begins with a prefix comes before the prefix and this.
const LAST_BYTE: u8 = 0xff;

/// The records in Redis. Cloning is cheap and shares the connection.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    redis: Redis,
    base: String,
    script: Script,
}

impl Remote {
    /// Records whose keys begin with `base`, which has a hash tag.
    pub(crate) fn new(redis: Redis, base: &str) -> Self {
        Self { redis, base: base.to_owned(), script: Script::new(include_str!("write.lua")) }
    }

    pub(crate) async fn get(&self, kind: Kind, key: &str, limit: Duration) -> Result<Option<Record>, StateError> {
        let asked = Cmd::new().arg("GETEX").arg(self.record(kind, key)).to_owned();
        let found: Option<Vec<u8>> = self.ask(asked, limit).await?;
        found.as_deref().map(read).transpose()
    }

    pub(crate) async fn write(
        &self,
        kind: Kind,
        key: &str,
        write: &Write,
        limit: Duration,
    ) -> Result<Written, StateError> {
        let (condition, version) = match write.condition {
            Condition::Always => ("always", Version(0)),
            Condition::Absent => ("absent", Version(0)),
            Condition::Is(version) => ("is", version),
        };
        let (change, record, lives_ms) = match &write.change {
            Change::Put { value, version, end_ms } => {
                let record = Record { version: *version, end_ms: end_ms.unwrap_or(0), value: value.clone() };
                let lives_ms = end_ms.map_or(-1, |end_ms| {
                    i64::try_from(end_ms.saturating_sub(now_ms())).unwrap_or(i64::MAX).min(LIVES_MS_MAX)
                });
                ("put", record.encode(), lives_ms)
            }
            Change::Remove => ("remove", Vec::new(), 0),
        };
        let keys = [self.record(kind, key), self.names(kind), self.ends(kind)];
        let keys = keys.each_ref().map(String::as_str);
        let arguments = |call: &mut Cmd| {
            call.arg(condition).arg(&version.0.to_be_bytes()).arg(change).arg(record.as_slice()).arg(lives_ms).arg(key);
        };
        let answer = self.redis.run(&self.script, &keys, arguments, limit).await;
        let (made, there): (i64, Option<Vec<u8>>) = answer.map_err(|error| told(error, limit))?.value;
        let there = there.as_deref().map(read).transpose()?;
        Ok(if made == 1 { Written::Done(there) } else { Written::Refused(there) })
    }

    /// Records of a kind whose keys begin with `prefix`, after `after`, in the order of their keys.
    pub(crate) async fn list(
        &self,
        kind: Kind,
        prefix: &str,
        after: &str,
        limit: usize,
        time: Duration,
    ) -> Result<Vec<(String, Record)>, StateError> {
        let mut found = Vec::new();
        let mut after = after.to_owned();
        let last = [b"(".as_slice(), prefix.as_bytes(), &[LAST_BYTE]].concat();
        for _ in 0..ROUNDS {
            let wanted = limit - found.len();
            if wanted == 0 {
                break;
            }
            let first =
                if !after.is_empty() && after.as_str() >= prefix { format!("({after}") } else { format!("[{prefix}") };
            let mut names = redis::cmd("ZRANGEBYLEX");
            names.arg(self.names(kind)).arg(first).arg(&last).arg("LIMIT").arg(0).arg(wanted);
            let names: Vec<String> = self.ask(names, time).await?;
            let Some(name) = names.last() else { break };
            after.clone_from(name);
            let is_last = names.len() < wanted;
            let mut reads = Pipeline::new();
            for name in &names {
                reads.cmd("GETEX").arg(self.record(kind, name));
            }
            let records: Vec<Option<Vec<u8>>> =
                self.redis.ask(reads, time).await.map_err(|error| told(error, time))?.value;
            for (name, record) in names.into_iter().zip(records) {
                if let Some(record) = record {
                    found.push((name, read(&record)?));
                }
            }
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    async fn ask<T: redis::FromRedisValue + Send>(&self, command: Cmd, limit: Duration) -> Result<T, StateError> {
        Ok(self.redis.ask(command, limit).await.map_err(|error| told(error, limit))?.value)
    }

    fn record(&self, kind: Kind, key: &str) -> String {
        format!("{}:{}:{key}", self.base, kind.name())
    }

    fn names(&self, kind: Kind) -> String {
        format!("{}:names:{}", self.base, kind.name())
    }

    fn ends(&self, kind: Kind) -> String {
        format!("{}:ends:{}", self.base, kind.name())
    }
}

/// A thousand years, which Redis and its scripts can still add to the present.
const LIVES_MS_MAX: i64 = 1_000 * 365 * 86_400_000;

fn read(bytes: &[u8]) -> Result<Record, StateError> {
    Record::decode(bytes).map_err(StateError::Unreadable)
}

fn told(error: RedisError, limit: Duration) -> StateError {
    match error {
        RedisError::Timeout { .. } => StateError::Timeout { limit },
        error => StateError::Redis(error),
    }
}

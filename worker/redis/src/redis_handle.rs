//! The handle that cache and state hold.

use std::{sync::Arc, time::Duration};

use redis::FromRedisValue;
use task_mcp_config::settings::Redis as Settings;
use task_mcp_telemetry::RedisMetrics;
use tokio::task::JoinHandle;

use crate::{
    access::Access,
    ask::{self, Answer},
    backoff::Backoff,
    breaker::Breaker,
    commands::Commands,
    error::RedisError,
    find::Finder,
    identity::ServerId,
    keeper::{self, Link, Shared},
    status::{ConnectionStatus, Status},
    subscription::Subscription,
};

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The cache's.
    Cache,
    /// The state's.
    State,
}

impl Purpose {
    /// As in logs.
    fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::State => "state",
        }
    }

    /// What the connection is called on the server (CLIENT LIST).
    fn connection_name(self) -> &'static str {
        match self {
            Self::Cache => "task-mcp:cache",
            Self::State => "task-mcp:state",
        }
    }
}

/// A connection to the master, kept by a task of its own. Clones share it; the task ends with the last of them.
#[derive(Clone, Debug)]
pub struct Redis(Arc<Kept>);

struct Kept {
    shared: Arc<Shared>,
    first_delay: Duration,
    longest_delay: Duration,
    keeper: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("purpose", &self.shared.purpose).finish_non_exhaustive()
    }
}

impl Redis {
    /// Returns at once; connects in the background. Within a tokio runtime. In a cluster the master is that of the slot of
    /// `slot_key`: all keys asked for must lie in it, so they begin with the same `{...}`.
    ///
    /// # Errors
    /// [`RedisError::Settings`], for settings that can never work: a URL that is none, a missing or unusable PEM file. A server that
    /// is away is no error.
    pub fn open(
        settings: &Settings,
        purpose: Purpose,
        slot_key: &str,
        metrics: RedisMetrics,
    ) -> Result<Self, RedisError> {
        let finder = Finder::new(Access::new(settings, purpose.connection_name(), slot_key)?);
        let shared = Arc::new(Shared::new(finder, purpose.name(), metrics, settings.breaker_failures));
        let first_delay = Duration::from_millis(settings.retry_ms);
        let longest_delay = Duration::from_millis(settings.retry_max_ms);
        let keeper = tokio::spawn(keeper::keep(Arc::clone(&shared), Backoff::new(first_delay, longest_delay)));
        Ok(Self(Arc::new(Kept { shared, first_delay, longest_delay, keeper })))
    }

    /// Sends `commands` and waits for the answer, at most for `budget` in all. An error of one command of a pipeline fails it
    /// whole, unless the pipeline was told to `ignore_errors` and `T` can hold them. May be dropped at any time; what was sent may
    /// then be carried out all the same.
    ///
    /// # Errors
    /// All of [`RedisError`] but `Settings`. Nothing was sent if it is `Breaker`, or `Unavailable` for any reason but
    /// [`Unreachable::Broke`](crate::Unreachable::Broke).
    pub async fn ask<T: FromRedisValue + Send>(
        &self,
        commands: impl Into<Commands>,
        budget: Duration,
    ) -> Result<Answer<T>, RedisError> {
        let commands = commands.into();
        ask::ask(&self.0.shared, &commands, budget).await
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let connection = match &*self.0.shared.link.borrow() {
            Link::Connecting => ConnectionStatus::Connecting,
            Link::Up(connection) => ConnectionStatus::Up { server: connection.server },
            Link::Down { reason, since } => ConnectionStatus::Down { reason: reason.to_string(), since: *since },
        };
        Status { connection, breaker: self.0.shared.breaker(|breaker: &mut Breaker| breaker.state()) }
    }

    /// The server at the other end, if there is a connection.
    pub fn server(&self) -> Option<ServerId> {
        match &*self.0.shared.link.borrow() {
            Link::Up(connection) => Some(connection.server),
            Link::Connecting | Link::Down { .. } => None,
        }
    }

    /// Listens to `channels` on a connection of its own, which is made anew for ever. Returns at once; what follows is heard.
    ///
    /// # Errors
    /// [`RedisError::Settings`] if no channel is named.
    pub async fn subscribe(&self, channels: &[String]) -> Result<Subscription, RedisError> {
        if channels.is_empty() {
            return Err(RedisError::Settings { reason: "no channel is named".to_owned() });
        }
        let backoff = Backoff::new(self.0.first_delay, self.0.longest_delay);
        Ok(Subscription::start(Arc::clone(&self.0.shared.finder), backoff, channels.to_vec()))
    }
}

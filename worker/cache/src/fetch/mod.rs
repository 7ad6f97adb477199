//! The one way to an answer: an entry, else what another caller computes at this moment, else a computation.
//!
//! - `engine`: what a caller goes through
//! - `flights`: who computes what in this process, and who waits for it
//! - `elsewhere`: what other processes compute, so that they are not asked by every call
//! - `flight`: one computation: its lease, its end, what becomes of its result
//! - `terms`: how long results are kept

mod elsewhere;
mod engine;
mod flight;
mod flights;
mod terms;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::Duration;

use task_mcp_telemetry::CacheOutcome;

pub(crate) use engine::Engine;
pub(crate) use terms::Terms;

use crate::{Cache, Key, Tag, Value};

/// What is wanted, and how long it may be kept.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Names the entry.
    pub key: Key,
    /// Place of the tool in the registry, for metrics.
    pub tool: usize,
    /// For people who look for entries: the tool and what it was asked.
    pub name: &'a str,
    /// What the result depends on.
    pub tags: &'a [Tag],
    /// How long a result is kept; `None` is what the settings say.
    pub ttl: Option<Duration>,
    /// Whether a result past its time may be answered while it is computed anew.
    pub stale: bool,
}

/// What a computation came to. One that comes to nothing, by a panic or because nobody waits, is dropped: who still waits computes
/// by itself.
#[derive(Debug, Clone)]
pub enum Computed {
    /// A result, to be kept and told to everybody who waits.
    Keep(Value),
    /// An error that is a fact for a moment: kept for the negative time, and told to everybody who waits.
    KeepBriefly(Value),
    /// Told to everybody who waits, and not kept.
    Tell(Value),
    /// Told to the caller whose computation it was; of the others one computes next.
    TellOne(Value),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What was wanted.
    pub value: Value,
    /// Where it came from.
    pub outcome: CacheOutcome,
    /// How long ago it was computed.
    pub age: Duration,
}

impl Cache {
    /// Answers with an entry, or with what another caller computes at this moment, or with what `compute` comes to. The
    /// computation is a task of its own, which ends when nobody waits for it any longer; `None` if it came to nothing.
    ///
    /// An entry past its time is answered at once if `wanted.stale` allows it, and `compute` then runs in the background, once for
    /// all processes. The time a caller waits for another's computation has no limit here: the caller sets its own, by dropping
    /// this future.
    pub async fn fetch<F, C>(&self, wanted: Wanted<'_>, compute: F) -> Option<Fetched>
    where
        F: FnOnce() -> C + Send + 'static,
        C: Future<Output = Computed> + Send + 'static,
    {
        self.engine.fetch(wanted, compute).await
    }
}

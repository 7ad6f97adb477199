//! Calls that have become tasks. They wait for their turn where other calls are refused, because nobody waits at the other end of a
//! connection; they have no deadline but the end of the task, and their results are not shared over the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::{Answer, Executor, refusals};
use crate::call::Call;
use crate::error::code;
use crate::panics::{Guarded, Panicked, guarded};
use crate::patience::Patience;
use crate::registry::Entry;
use crate::slots::Place;
use crate::stop::Stop;
use crate::tool::Aftermath;

/// The turn of one task: one of the places that calls of its tool share (`tools.concurrency`). A task that waits for its client leaves
/// it to others meanwhile. Cloning shares it.
#[derive(Clone)]
pub struct Turn(Arc<Inner>);

struct Inner {
    executor: Executor,
    entry: Arc<Entry>,
    place: Place,
    has_begun: AtomicBool,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("tool", &self.0.entry.name).finish_non_exhaustive()
    }
}

impl Turn {
    /// Waits until there is a place.
    pub async fn take(&self) {
        self.0.place.take(|| self.0.executor.0.limits.load().concurrency).await;
    }

    /// Leaves the place to others.
    pub fn leave(&self) {
        self.0.place.leave();
    }

    /// Whether the tool has been run, or is.
    pub fn has_begun(&self) -> bool {
        self.0.has_begun.load(Ordering::Acquire)
    }
}

impl Executor {
    /// Whether a task can be made of a call: scopes and arguments are looked at, and the client is asked what the tool has to know
    /// before ([`Tool::before_task`](crate::Tool::before_task)).
    ///
    /// # Errors
    /// What the call is to be answered with instead.
    pub async fn prepare_task(&self, call: &Call, name: &str, arguments: &str) -> Result<(), Stop> {
        let entry = self.0.registry.get(name).ok_or_else(refusals::unknown_tool)?;
        let started = Instant::now();
        let prepared = async {
            let admitted = self.admit(entry, call, arguments)?;
            let (patience, limit) = (Patience::new(admitted.limits.deadline), admitted.limits.deadline);
            let asked = match guarded(|| entry.tool.before_task(call, &admitted.arguments)) {
                Ok(asks) => patience.timeout(Guarded(asks)).await,
                Err(Panicked) => Some(Err(Panicked)),
            };
            let asked = asked.unwrap_or_else(|| Ok(Err(refusals::too_slow(limit).into())));
            asked.unwrap_or_else(|Panicked| Err(self.panicked(entry).into()))
        }
        .await;
        if let Err(stop) = &prepared {
            self.count(entry, started, &Err(stop.clone()).into());
        }
        prepared
    }

    /// The turn of a task of that tool, not taken yet; `None` if there is no such tool.
    pub fn turn(&self, name: &str) -> Option<Turn> {
        let entry = Arc::clone(self.0.registry.get(name)?);
        Some(Turn(Arc::new(Inner {
            executor: self.clone(),
            place: Place::among(&entry.slots),
            entry,
            has_begun: AtomicBool::new(false),
        })))
    }

    /// Runs a task as soon as it is its turn. If the caller does not wait for the end, a read ends, and so does a write that has not
    /// begun; one that has goes on.
    pub async fn execute_task(&self, call: &Call, turn: &Turn, arguments: &str) -> Answer {
        let entry = &turn.0.entry;
        turn.take().await;
        turn.0.has_begun.store(true, Ordering::Release);
        let started = Instant::now();
        let answer = match self.admit(entry, call, arguments) {
            Ok(admitted) if entry.read_only => self.read_in_turn(admitted).await.into(),
            Ok(admitted) => self.write_in_turn(admitted, turn.clone()).await,
            Err(error) => error.into(),
        };
        turn.leave();
        self.count(entry, started, &answer);
        answer
    }

    /// Whether nothing was done by a task of that tool that ended so: it was refused, or stopped at a question nobody answered.
    pub fn did_nothing(&self, turn: &Turn, stop: &Stop) -> bool {
        let entry = &turn.0.entry;
        let reason = stop.code();
        entry.read_only
            || stop.is_for_want_of_answers()
            || [code::INVALID_INPUT, code::INSUFFICIENT_SCOPE].contains(&reason)
            || entry.tool.aftermath(reason) == Aftermath::NothingDone
    }
}

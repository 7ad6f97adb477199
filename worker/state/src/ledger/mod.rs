//! What became of calls with an idempotency key.
//!
//! A call is entered before it is run and its answer before it is given, each on disk (or in Redis) by then. Whoever runs it also
//! keeps a record of itself alive (`crate::runner`): when that has ended and there is no answer, nobody knows what was done.
//!
//! - `entry`: what is written of a call
//! - `attempt`: one try at a key; `loose_ends`: what could not be entered in time, and is later

mod attempt;
mod entry;
mod loose_ends;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use task_mcp_telemetry::{IdempotencyOutcome, StateMetrics};

use self::attempt::Attempt;
use self::entry::{Entry, Stage};
use self::loose_ends::LooseEnds;
use crate::StateError;
use crate::records::{Inserted, Kind, Record, Records, VALUE_BYTES_MAX};
use crate::runner::Runner;

/// Remembers the first answer to an idempotency key. Cloning is cheap and shares it.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    records: Records,
    runner: Runner,
    loose_ends: LooseEnds,
    ttl: Duration,
    metrics: StateMetrics,
}

/// The right to run a call and to say what came of it. A ticket that is lost leaves the outcome unknown.
#[derive(Debug)]
pub struct Ticket(Attempt);

/// What is known of a call with an idempotency key.
#[derive(Debug)]
pub enum Begun {
    /// Nothing: it is the first. Run it, then [`Ledger::finish`].
    First(Ticket),
    /// It was run; this was the answer.
    Replay(Bytes),
    /// It is being run.
    Running,
    /// The key belongs to a call with another body.
    Conflict,
    /// It was begun, and the process that ran it is gone: whether it was done is not known.
    Unknown,
}

impl Ledger {
    pub(crate) fn new(records: Records, ttl: Duration, metrics: StateMetrics) -> Self {
        let runner = Runner::new(records.clone());
        let loose_ends = LooseEnds::new(records.clone(), runner.clone(), ttl);
        Self(Arc::new(Parts { runner, loose_ends, records, ttl, metrics }))
    }

    /// This process, as one that runs calls.
    pub(crate) fn runner(&self) -> &Runner {
        &self.0.runner
    }

    /// Asks about `key`, which holds the principal, the tool and the client's key, and may be of any length; `fingerprint` is a hash
    /// of the body. Within a tokio runtime.
    ///
    /// # Errors
    /// The ledger cannot be asked; the call must not be run then. If it took too long, the key may be taken all the same: a repeat
    /// is told that the call is being run, until the ledger can be asked again and the key is free.
    pub async fn begin(&self, key: &str, fingerprint: [u8; 32]) -> Result<Begun, StateError> {
        let begun = self.enter(blake3::hash(key.as_bytes()).to_hex().as_str(), fingerprint).await;
        self.0.metrics.idempotent(match &begun {
            Ok(Begun::First(_)) => IdempotencyOutcome::First,
            Ok(Begun::Replay(_)) => IdempotencyOutcome::Replayed,
            Ok(Begun::Running) => IdempotencyOutcome::Running,
            Ok(Begun::Conflict) => IdempotencyOutcome::Conflict,
            Ok(Begun::Unknown) => IdempotencyOutcome::Unknown,
            Err(_) => IdempotencyOutcome::Unavailable,
        });
        begun
    }

    /// Says what came of a call; `None` if it was not run after all, so that the key is free again.
    ///
    /// # Errors
    /// The answer cannot be kept; a repeat is told that the outcome is not known. That a call was not run is entered later if it
    /// cannot be now.
    pub async fn finish(&self, ticket: Ticket, answer: Option<Bytes>) -> Result<(), StateError> {
        let Ticket(mut attempt) = ticket;
        let Some(answer) = answer else {
            attempt.was_not_run();
            self.0.records.remove(Kind::Call, &attempt.key, attempt.version).await?;
            attempt.settled();
            return Ok(());
        };
        let entry = Entry { fingerprint: attempt.fingerprint, stage: Stage::Answered(answer) }.encode();
        if entry.len() > VALUE_BYTES_MAX {
            // The attempt is dropped, and with it the outcome.
            return Err(StateError::TooLarge { what: "answer", bytes: entry.len(), limit_bytes: VALUE_BYTES_MAX });
        }
        let entry = Bytes::from(entry);
        let ttl = self.0.ttl;
        let replaced =
            self.0.records.replace(Kind::Call, &attempt.key, attempt.version, entry.clone(), Some(ttl)).await?;
        if replaced.is_none() {
            // What was entered is gone: it ended, or Redis lost it. What another call entered since stays.
            self.0.records.insert(Kind::Call, &attempt.key, entry, ttl).await?;
        }
        attempt.settled();
        Ok(())
    }

    async fn enter(&self, key: &str, fingerprint: [u8; 32]) -> Result<Begun, StateError> {
        // Processes that open the files anew would have another ledger.
        self.0.records.in_place()?;
        self.0.runner.appear().await?;
        let entry = Entry { fingerprint, stage: Stage::Running { runner: self.0.runner.id() } };
        // Before it is entered: from then on others ask whether it is being run.
        let attempt = Attempt::new(self, key, fingerprint);
        match self.0.records.insert_as(attempt.version, Kind::Call, key, entry.encode(), self.0.ttl).await {
            Ok(Inserted::New(_)) => Ok(Begun::First(attempt.won())),
            Ok(Inserted::Exists(record)) => {
                attempt.settled();
                self.judge(key, &record, fingerprint).await
            }
            Err(error) => {
                // Else it is dropped, and what may yet be entered is withdrawn.
                if !error.may_be_made() {
                    attempt.settled();
                }
                Err(error)
            }
        }
    }

    /// What an entry says to somebody who comes later.
    async fn judge(&self, key: &str, record: &Record, fingerprint: [u8; 32]) -> Result<Begun, StateError> {
        let entry = Entry::decode(&record.value).map_err(StateError::Unreadable)?;
        if entry.fingerprint != fingerprint {
            return Ok(Begun::Conflict);
        }
        let runner = match entry.stage {
            Stage::Answered(answer) => return Ok(Begun::Replay(answer)),
            Stage::Lost => return Ok(Begun::Unknown),
            Stage::Running { runner } => runner,
        };
        if self.0.runner.runs(runner, key).await? {
            return Ok(Begun::Running);
        }
        // It may have answered, or turned out not to be run, since the entry was read; then the key is free, and another call may
        // have taken it: who comes again in a moment hears what holds by then.
        let Some(now) = self.0.records.get(Kind::Call, key).await? else { return Ok(Begun::Running) };
        Ok(match Entry::decode(&now.value).map_err(StateError::Unreadable)?.stage {
            Stage::Answered(answer) => Begun::Replay(answer),
            Stage::Running { .. } if now.version != record.version => Begun::Running,
            Stage::Lost | Stage::Running { .. } => Begun::Unknown,
        })
    }
}

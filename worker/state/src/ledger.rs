//! What became of calls with an idempotency key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use task_mcp_telemetry::{IdempotencyOutcome, StateMetrics};

use crate::StateError;

/// Remembers the first answer to an idempotency key. Cloning is cheap and shares it.
#[derive(Debug, Clone)]
pub struct Ledger {
    calls: Arc<Mutex<HashMap<String, Known>>>,
    metrics: StateMetrics,
}

#[derive(Debug, Clone)]
struct Known {
    fingerprint: [u8; 32],
    answer: Option<Bytes>,
}

/// The right to run a call and to say what came of it. A ticket that is lost leaves the outcome unknown.
#[derive(Debug)]
pub struct Ticket {
    key: String,
}

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
    pub(crate) fn alone(metrics: StateMetrics) -> Self {
        Self { calls: Arc::default(), metrics }
    }

    /// Asks about `key`, which holds the principal, the tool and the client's key; `fingerprint` is a hash of the body.
    ///
    /// # Errors
    /// The ledger cannot be asked; the call must not be run then.
    pub async fn begin(&self, key: &str, fingerprint: [u8; 32]) -> Result<Begun, StateError> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let (outcome, begun) = match calls.get(key) {
            None => {
                calls.insert(key.to_owned(), Known { fingerprint, answer: None });
                (IdempotencyOutcome::First, Begun::First(Ticket { key: key.to_owned() }))
            }
            Some(known) if known.fingerprint != fingerprint => (IdempotencyOutcome::Conflict, Begun::Conflict),
            Some(Known { answer: Some(answer), .. }) => (IdempotencyOutcome::Replayed, Begun::Replay(answer.clone())),
            Some(Known { answer: None, .. }) => (IdempotencyOutcome::Running, Begun::Running),
        };
        self.metrics.idempotent(outcome);
        Ok(begun)
    }

    /// Says what came of a call; `None` if it was not run after all, so that the key is free again.
    ///
    /// # Errors
    /// The answer cannot be kept; a repeat is told that the outcome is not known.
    pub async fn finish(&self, ticket: Ticket, answer: Option<Bytes>) -> Result<(), StateError> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        match (answer, calls.get_mut(&ticket.key)) {
            (Some(answer), Some(known)) => known.answer = Some(answer),
            (None, _) => drop(calls.remove(&ticket.key)),
            (Some(_), None) => {}
        }
        Ok(())
    }
}

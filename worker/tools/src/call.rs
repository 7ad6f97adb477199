//! What a call brings beside its arguments.

use std::sync::Arc;

use crate::idempotency::IdempotencyKey;
use crate::principal::Principal;

/// Hears how far a call is; implemented by a transport that can tell its client meanwhile.
pub trait Progress: Send + Sync {
    /// So much of `total` is done; the numbers grow from one report to the next. Called from any thread, also when nobody
    /// waits for the call any longer.
    fn report(&self, done: f64, total: Option<f64>, message: Option<&str>);
}

/// What the executor and a tool know of the call they serve. Cloning is cheap.
#[derive(Clone)]
pub struct Call {
    /// Who calls.
    pub principal: Principal,
    idempotency: Option<IdempotencyKey>,
    progress: Option<Arc<dyn Progress>>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("principal", &self.principal).finish_non_exhaustive()
    }
}

impl Call {
    /// A call of this principal, without idempotency key, whose progress nobody hears of.
    pub fn new(principal: Principal) -> Self {
        Self { principal, idempotency: None, progress: None }
    }

    /// The same under an idempotency key.
    pub fn with_idempotency(mut self, key: Option<IdempotencyKey>) -> Self {
        self.idempotency = key;
        self
    }

    /// The same with somebody who hears of its progress.
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Tells the caller how far the call is, if the caller can be told.
    pub fn report(&self, done: f64, total: Option<f64>, message: Option<&str>) {
        if let Some(progress) = &self.progress {
            progress.report(done, total, message);
        }
    }

    pub(crate) fn idempotency(&self) -> Option<&IdempotencyKey> {
        self.idempotency.as_ref()
    }
}

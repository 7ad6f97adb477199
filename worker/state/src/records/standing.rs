//! Whether the records can be used by this process, and one line in the log for each change of that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::StateError;

/// How long nothing must have gone wrong before all is well again.
const QUIET: Duration = Duration::from_secs(1);
/// Nothing but a restart ends this.
const REPLACED: &str = "replaced";

/// How the records stand. Cloning is cheap and shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing(Arc<Mutex<Option<(&'static str, Instant)>>>);

impl Standing {
    /// What is wrong, in words for strangers.
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.lock().map(|(reason, _)| reason)
    }

    /// An operation failed.
    pub(super) fn failed(&self, error: &StateError) {
        let Some(reason) = reason(error) else { return };
        let mut trouble = self.lock();
        if trouble.is_some_and(|(before, _)| before == REPLACED) {
            return;
        }
        if trouble.is_none_or(|(before, _)| before != reason) {
            tracing::warn!(
                error = %error, reason,
                "The state cannot be used as it should; writes with an idempotency key are refused meanwhile."
            );
        }
        *trouble = Some((reason, Instant::now()));
    }

    /// A new record was written. One success between failures is no transition.
    pub(super) fn wrote(&self) {
        let mut trouble = self.lock();
        if trouble.is_some_and(|(reason, since)| reason != REPLACED && since.elapsed() >= QUIET) {
            *trouble = None;
            tracing::info!("The state can be used again; writes with an idempotency key are accepted.");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(&'static str, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an error says of the records as a whole; `None` if it is about one record.
fn reason(error: &StateError) -> Option<&'static str> {
    match error {
        StateError::Redis(error) if error.code().as_deref() == Some("OOM") => Some("full"),
        StateError::Redis(_) => Some("unreachable"),
        StateError::Timeout { .. } => Some("timeout"),
        StateError::Full { .. } => Some("full"),
        StateError::Replaced { .. } => Some(REPLACED),
        StateError::Embedded(_) | StateError::Gone => Some("failed"),
        _ => None,
    }
}

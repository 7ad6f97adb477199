//! How the tier stands, and one line in the log for each change of that.

use std::mem::discriminant;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use task_mcp_telemetry::CacheMetrics;

use crate::operations::Health;

/// How long nothing must have gone wrong before all is well again.
const QUIET: Duration = Duration::from_secs(1);
/// How long stores must have failed, without one success between them, before that is trouble.
const LASTING: Duration = Duration::from_secs(1);

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is no file to read or write: nothing is kept.
    NoFile(String),
    /// Entries are read, but none can be stored.
    NoStore(String),
}

/// How the tier stands for this process.
#[derive(Debug)]
pub(super) struct Standing {
    state: Mutex<State>,
    metrics: CacheMetrics,
}

#[derive(Debug, Default)]
struct State {
    /// With the time at which something went wrong last.
    trouble: Option<(Trouble, Instant)>,
    /// The first of the failures without a success between them.
    failing_since: Option<Instant>,
}

impl Standing {
    pub(super) fn new(metrics: CacheMetrics) -> Self {
        Self { state: Mutex::default(), metrics }
    }

    /// Something is wrong.
    pub(super) fn fell(&self, now: Trouble) {
        self.fall(&mut self.lock(), now);
    }

    /// Something could not be stored. One failure is no transition.
    pub(super) fn failed(&self, reason: &str) {
        let mut state = self.lock();
        let since = *state.failing_since.get_or_insert_with(Instant::now);
        let without_file = matches!(state.trouble, Some((Trouble::NoFile(_), _)));
        if !without_file && (state.trouble.is_some() || since.elapsed() >= LASTING) {
            self.fall(&mut state, Trouble::NoStore(reason.to_owned()));
        }
    }

    /// Something was stored. One success between failures is no transition.
    pub(super) fn stored(&self) {
        let mut state = self.lock();
        state.failing_since = None;
        if state.trouble.as_ref().is_some_and(|(_, since)| since.elapsed() >= QUIET) {
            self.recover(&mut state);
        }
    }

    /// There is a file, whether or not anything can be stored.
    pub(super) fn opened(&self) {
        let mut state = self.lock();
        if matches!(state.trouble, Some((Trouble::NoFile(_), _))) {
            self.recover(&mut state);
        }
    }

    /// Whether it is worth a try to store something that nobody asked for.
    pub(super) fn stores_nothing(&self) -> bool {
        matches!(self.lock().trouble, Some((Trouble::NoStore(_), _)))
    }

    fn fall(&self, state: &mut State, now: Trouble) {
        // The same kind of trouble is no transition, whatever its reason says now.
        let same = state.trouble.as_ref().is_some_and(|(before, _)| discriminant(before) == discriminant(&now));
        if !same {
            match &now {
                Trouble::NoFile(reason) => {
                    tracing::warn!(reason, "The embedded cache cannot be used; results are computed for every call.");
                }
                Trouble::NoStore(reason) => {
                    tracing::warn!(reason, "The embedded cache stores nothing more; what it holds is still answered.");
                }
            }
            self.metrics.degraded.set(1);
        }
        state.trouble = Some((now, Instant::now()));
    }

    fn recover(&self, state: &mut State) {
        *state = State::default();
        tracing::info!("The embedded cache stores and answers again.");
        self.metrics.degraded.set(0);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn health(&self) -> Health {
        let (in_force, reason) = match &self.lock().trouble {
            None => ("embedded", None),
            Some((Trouble::NoStore(reason), _)) => ("embedded", Some(reason.clone())),
            Some((Trouble::NoFile(reason), _)) => ("none", Some(reason.clone())),
        };
        Health { configured: "embedded", in_force, reason }
    }
}

//! The steps of a call in their order.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use task_mcp_cache::Tag;

use super::keys::Named;
use super::validate::validated;
use super::{Answer, Cut, Executor, Limits, refusals};
use crate::call::Call;
use crate::error::ToolError;
use crate::panics::{Guarded, Panicked, guarded};
use crate::registry::Entry;
use crate::stop::Stop;
use crate::tool::{CachePolicy, Output};

/// A call that may run: its tool, who calls, arguments that fit. It belongs to whoever runs it, who may outlive the caller.
pub(super) struct Admitted {
    pub(super) entry: Arc<Entry>,
    pub(super) call: Call,
    pub(super) arguments: Value,
    pub(super) limits: Limits,
}

impl Executor {
    /// Runs one call. `arguments` is JSON text, as the client wrote it.
    ///
    /// If the caller does not wait for the end, a read that nobody else waits for ends; a write goes on.
    pub async fn execute(&self, call: &Call, name: &str, arguments: &str) -> Answer {
        let Some(entry) = self.0.registry.get(name) else {
            return refusals::unknown_tool().into();
        };
        let started = Instant::now();
        let cut_with = if entry.read_only { Cut::Reads } else { Cut::Everything };
        let mut cut = self.0.cut.subscribe();
        let answer = tokio::select! {
            biased;
            answer = self.run(entry, call, arguments) => answer,
            _ = cut.wait_for(|cut| *cut >= cut_with) => refusals::shutting_down(entry.read_only).into(),
        };
        self.count(entry, started, &answer);
        answer
    }

    /// Counts a call that has come to its end.
    pub(super) fn count(&self, entry: &Entry, started: Instant, answer: &Answer) {
        self.0.metrics.executed(entry.index, started.elapsed());
        if let Err(stop) = answer.outcome.as_ref()
            && !stop.asks()
        {
            let position = self.0.registry.error_codes().iter().position(|known| *known == stop.code());
            self.0.metrics.failed(entry.index, position);
        }
    }

    async fn run(&self, entry: &Arc<Entry>, call: &Call, arguments: &str) -> Answer {
        let admitted = match self.admit(entry, call, arguments) {
            Ok(admitted) => admitted,
            Err(error) => return error.into(),
        };
        let policy = match guarded(|| entry.tool.cache_for(&admitted.arguments)) {
            Ok(policy) => policy,
            Err(_) => return self.panicked(entry).into(),
        };
        match (entry.read_only, policy) {
            (false, _) => self.write(admitted).await,
            (true, CachePolicy::Off) => self.read(admitted).await.into(),
            (true, CachePolicy::On { partition, ttl, stale, facts }) => {
                let named = Named::new(self, &admitted, partition);
                match self.read_kept(admitted, named, ttl, stale, facts).await {
                    Err(stop) if stop.asks() => match self.admit(entry, call, arguments) {
                        Ok(admitted) => self.read(admitted).await.into(),
                        Err(error) => error.into(),
                    },
                    outcome => outcome.into(),
                }
            }
        }
    }

    pub(super) fn admit(&self, entry: &Arc<Entry>, call: &Call, arguments: &str) -> Result<Admitted, ToolError> {
        if let Some(missing) = entry.scopes.iter().find(|scope| !call.principal.holds(scope)) {
            return Err(refusals::insufficient_scope(missing, entry.scopes));
        }
        let arguments = validated(entry, arguments)?;
        Ok(Admitted { entry: Arc::clone(entry), call: call.clone(), arguments, limits: **self.0.limits.load() })
    }

    /// What a call depends on, or what it may change.
    pub(super) fn tags(&self, admitted: &Admitted) -> Result<Vec<Tag>, ToolError> {
        guarded(|| admitted.entry.tool.tags(&admitted.arguments)).map_err(|_| self.panicked(&admitted.entry))
    }

    /// Runs the tool, within a guard from its first line on.
    pub(super) async fn ran(entry: &Entry, call: &Call, arguments: Value) -> Result<Result<Output, Stop>, Panicked> {
        Guarded(guarded(|| entry.tool.call(call, arguments))?).await
    }

    /// Counts a panic; what the caller is told of it.
    pub(super) fn panicked(&self, entry: &Entry) -> ToolError {
        self.0.metrics.panicked();
        tracing::error!(
            tool = entry.name,
            "A tool panicked; whoever waited for it got an error and the process goes on."
        );
        ToolError::internal()
    }
}

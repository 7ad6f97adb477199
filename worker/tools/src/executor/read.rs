//! Calls that read.

use std::sync::Arc;
use std::time::Duration;

use task_mcp_cache::{Computed, Wanted};
use task_mcp_mcp::CallResult;
use tokio::time::timeout;

use super::keys::Named;
use super::outcome::{can_be_kept, fragments, from_value, to_value, within};
use super::path::Admitted;
use super::{Executor, refusals};
use crate::error::{ToolError, code};
use crate::panics::Panicked;
use crate::patience::Patience;
use crate::slots::Seat;
use crate::stop::Stop;

impl Executor {
    /// Runs the tool for this caller alone: when the caller leaves, it ends.
    pub(super) async fn read(&self, admitted: Admitted) -> Result<CallResult, Stop> {
        let Admitted { entry, call, arguments, limits } = admitted;
        let seat = Seat::take(&entry.slots, limits.concurrency, limits.deadline);
        let seat = seat.ok_or_else(|| refusals::busy(limits.concurrency))?;
        let _counted = self.0.metrics.running(entry.index);
        let patience = Arc::new(Patience::new(limits.deadline));
        let call = call.within(&patience).at(&seat);
        match patience.timeout(Self::ran(&entry, &call, arguments)).await {
            Some(Ok(outcome)) => within(fragments(outcome?), limits.response_bytes),
            Some(Err(Panicked)) => Err(self.panicked(&entry).into()),
            None => Err(refusals::too_slow(limits.deadline).into()),
        }
    }

    /// The same for a task, which has its turn: its own end is its only deadline.
    pub(super) async fn read_in_turn(&self, admitted: Admitted) -> Result<CallResult, Stop> {
        let Admitted { entry, call, arguments, limits } = admitted;
        let _counted = self.0.metrics.running(entry.index);
        match Self::ran(&entry, &call, arguments).await {
            Ok(outcome) => within(fragments(outcome?), limits.response_bytes),
            Err(Panicked) => Err(self.panicked(&entry).into()),
        }
    }

    /// Answers from the cache, or with what is computed for all who ask the same at this time. Each caller waits for its own
    /// deadline, and the computation has that of the caller it was begun for.
    ///
    /// What a client answers is neither shared nor kept: a tool that asks is told that it cannot here, and every caller hears that it
    /// asks ([`Stop::NeedsInput`] without questions), to run it for itself.
    pub(super) async fn read_kept(
        &self,
        admitted: Admitted,
        named: Named,
        ttl: Option<Duration>,
        stale: bool,
        facts: &'static [&'static str],
    ) -> Result<CallResult, Stop> {
        let (limits, tool) = (admitted.limits, admitted.entry.index);
        let tags = self.tags(&admitted)?;
        let wanted = Wanted { key: named.key, tool, name: &named.name, tags: &tags, ttl, stale };
        let executor = self.clone();
        let admitted = Admitted { call: admitted.call.together(), ..admitted };
        let compute = move || async move {
            let outcome = executor.read(admitted).await;
            match &outcome {
                Ok(result) if can_be_kept(result) => Computed::Keep(to_value(outcome)),
                Err(stop) if facts.contains(&stop.code()) => Computed::KeepBriefly(to_value(outcome)),
                // Who came later has time left.
                Err(stop) if stop.code() == code::DEADLINE_EXCEEDED => Computed::TellOne(to_value(outcome)),
                // Whoever else waits would only find the same: the tool panics, or has no room.
                Ok(_) | Err(_) => Computed::Tell(to_value(outcome)),
            }
        };
        match timeout(limits.deadline, self.0.backing.cache.fetch(wanted, compute)).await {
            // It may have been kept under a larger limit.
            Ok(Some(fetched)) => within(from_value(fetched.value)?, limits.response_bytes),
            Ok(None) => Err(ToolError::internal().into()),
            Err(_) => Err(refusals::too_slow(limits.deadline).into()),
        }
    }
}

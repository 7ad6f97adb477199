//! Calls that write.

use std::sync::Arc;
use std::time::Instant;

use task_mcp_mcp::CallResult;

use super::outcome::fragments;
use super::path::Admitted;
use super::{Answer, Executor, Limits, refusals};
use crate::panics::Panicked;
use crate::slots::{Seat, Slot};
use crate::stop::Stop;
use crate::tool::Aftermath;
use crate::touched;

/// What a write came to.
pub(super) struct Written {
    pub(super) outcome: Result<CallResult, Stop>,
    /// If the outcome is an error.
    pub(super) aftermath: Aftermath,
}

impl Executor {
    /// Runs the tool as a task of its own: a caller that leaves takes its request along, but not the write. There is no deadline
    /// either: who waits learns what became of it.
    pub(super) async fn write(&self, admitted: Admitted) -> Answer {
        let Limits { concurrency, deadline, .. } = admitted.limits;
        let Some(seat) = Seat::take(&admitted.entry.slots, concurrency, deadline) else {
            return refusals::busy(concurrency).into();
        };
        let admitted = Admitted { call: admitted.call.at(&seat), ..admitted };
        self.write_in_turn(admitted, seat).await
    }

    /// The same with what is kept as its place for as long as it runs.
    pub(super) async fn write_in_turn(&self, admitted: Admitted, place: impl Send + 'static) -> Answer {
        let counted = self.0.metrics.running(admitted.entry.index);
        let unfinished = Slot::beyond_limits(&self.0.writes);
        let (executor, entry, started) = (self.clone(), Arc::clone(&admitted.entry), Instant::now());
        let caller = Arc::new(());
        let waits = Arc::downgrade(&caller);
        let running = tokio::spawn(async move {
            let _until_the_end = (place, counted, unfinished);
            let answer = match admitted.call.idempotency().cloned() {
                Some(key) => executor.write_once(&key, admitted).await,
                None => executor.written(admitted).await.outcome.into(),
            };
            // Else whoever waits for it counts it.
            if waits.strong_count() == 0 {
                executor.count(&entry, started, &answer);
            }
            answer
        });
        // The task cannot panic, and nobody cancels it: what can be lost is the runtime, at the end of the process.
        let answer = running.await.unwrap_or_else(|_| refusals::shutting_down(false).into());
        drop(caller);
        answer
    }

    /// Runs the tool, and says what may have changed, whatever came of it: before anybody is answered, nothing older can be read.
    pub(super) async fn written(&self, admitted: Admitted) -> Written {
        let mut tags = match self.tags(&admitted) {
            Ok(tags) => tags,
            Err(error) => return Written { outcome: Err(error.into()), aftermath: Aftermath::NothingDone },
        };
        let Admitted { entry, call, arguments, .. } = admitted;
        let finished = Self::ran(&entry, &call, arguments).await;
        // Whoever is asked first leaves no trace.
        let only_asked = matches!(&finished, Ok(Err(stop)) if stop.asks());
        let broke_off = match &finished {
            Ok(Ok(output)) => {
                tags.extend(output.touched.iter().cloned());
                false
            }
            Ok(Err(stop)) => !only_asked && entry.tool.aftermath(stop.code()) == Aftermath::Unknown,
            Err(Panicked) => true,
        };
        if broke_off && !tags.is_empty() {
            tags.push(crate::tags::everything());
        }
        if !only_asked && !tags.is_empty() {
            self.0.backing.cache.bump(&tags).await;
            touched::tell(&self.0.backing.bus, &tags);
        }
        match finished {
            Ok(outcome) => {
                let aftermath = match &outcome {
                    Err(stop) if stop.is_for_want_of_answers() => Aftermath::NothingDone,
                    Err(stop) => entry.tool.aftermath(stop.code()),
                    Ok(_) => Aftermath::Refused,
                };
                if outcome.is_err() && aftermath == Aftermath::NothingDone {
                    call.undone().await;
                }
                Written { outcome: outcome.map(fragments), aftermath }
            }
            Err(Panicked) => Written { outcome: Err(self.panicked(&entry).into()), aftermath: Aftermath::Unknown },
        }
    }
}

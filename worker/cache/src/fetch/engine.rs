//! What a caller goes through.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use task_mcp_scoreboard::{Commons, Epochs};
use task_mcp_telemetry::{CacheMetrics, CacheOutcome};

use super::elsewhere::Elsewhere;
use super::flight::Order;
use super::flights::{Flights, Source, Told};
use super::{Computed, Fetched, Terms, Wanted};
use crate::Value;
use crate::tier::{Looked, Stamps, Tier};

/// The way to an answer over one tier.
#[derive(Debug)]
pub(crate) struct Engine<T> {
    pub(crate) tier: T,
    pub(crate) metrics: CacheMetrics,
    pub(super) terms: Terms,
    pub(super) flights: Arc<Flights>,
    pub(super) elsewhere: Elsewhere,
    epochs: Epochs,
    incarnation: u64,
}

impl<T: Tier> Engine<T> {
    pub(crate) fn new(tier: T, terms: Terms, commons: &Commons, metrics: CacheMetrics) -> Self {
        let flights = Arc::new(Flights::default());
        let (elsewhere, epochs, incarnation) = (Elsewhere::default(), commons.epochs(), commons.incarnation());
        Self { tier, metrics, terms, flights, elsewhere, epochs, incarnation }
    }

    pub(crate) async fn fetch<F, C>(self: &Arc<Self>, wanted: Wanted<'_>, compute: F) -> Option<Fetched>
    where
        F: FnOnce() -> C + Send + 'static,
        C: Future<Output = Computed> + Send + 'static,
    {
        let asked = Instant::now();
        loop {
            let (stamps, trusted) = match self.tier.look(&wanted.key, wanted.tags).await {
                Looked::Fresh(found) => {
                    self.metrics.hit_aged(found.age);
                    return Some(self.answer(&wanted, CacheOutcome::Hit, found.value, found.age));
                }
                Looked::Stale(found, stamps) if wanted.stale => {
                    self.refresh(&wanted, stamps, compute);
                    self.metrics.hit_aged(found.age);
                    return Some(self.answer(&wanted, CacheOutcome::Stale, found.value, found.age));
                }
                Looked::Stale(_, stamps) | Looked::Nothing(stamps) => (stamps, true),
                // Who waits here for a computation knows at least of every write of this machine that had ended when it began.
                Looked::Untrusted => {
                    (Stamps::of(self.incarnation, wanted.tags, |cell| self.epochs.of_cell(cell)), false)
                }
            };
            let (waiting, landing) = self.flights.board(wanted.key, stamps.clone());
            let Some(landing) = landing else {
                // What began earlier may not know of what another machine has written since. One of those who wait for its
                // end computes next, for all of them.
                let too_early = !trusted && waiting.began < asked && self.tier.others_may_write();
                match waiting.told().await {
                    _ if too_early => continue,
                    Some(told) if !told.only_one => {
                        return Some(self.answer(&wanted, CacheOutcome::Coalesced, told.value, told.age));
                    }
                    // One of those who waited for nothing is the next to compute.
                    _ => continue,
                }
            };
            let order = Order::new(&wanted, trusted.then_some(stamps), false);
            tokio::spawn(Arc::clone(self).fly(landing, order, compute));
            let Told { value, source, age, .. } = waiting.told().await?;
            let outcome = match source {
                Source::Here => CacheOutcome::Miss,
                Source::Elsewhere => CacheOutcome::Coalesced,
                Source::Untrusted => CacheOutcome::Bypassed,
            };
            return Some(self.answer(&wanted, outcome, value, age));
        }
    }

    /// Computes in the background what is past its time, unless that is being done.
    fn refresh<F, C>(self: &Arc<Self>, wanted: &Wanted<'_>, stamps: Stamps, compute: F)
    where
        F: FnOnce() -> C + Send + 'static,
        C: Future<Output = Computed> + Send + 'static,
    {
        if self.elsewhere.computes(&wanted.key) {
            return;
        }
        if let (_, Some(landing)) = self.flights.board(wanted.key, stamps.clone()) {
            tokio::spawn(Arc::clone(self).fly(landing, Order::new(wanted, Some(stamps), true), compute));
        }
    }

    fn answer(&self, wanted: &Wanted<'_>, outcome: CacheOutcome, value: Value, age: Duration) -> Fetched {
        self.metrics.answered(wanted.tool, outcome);
        Fetched { value, outcome, age }
    }
}

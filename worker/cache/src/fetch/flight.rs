//! One computation: the lease that keeps other processes from doing the same, its end, and what becomes of its result.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use task_mcp_telemetry::CacheFault;

use super::flights::{Landing, Source, Told};
use super::{Computed, Engine, Wanted};
use crate::entry::unix_ms;
use crate::tier::{Entry, Found, Lease, Looked, Stamps, Tier, Token};
use crate::{Key, Tag, Value};

/// How many processes a caller waits for, one after the other, whose computations leave no entry, before it computes without a lease:
/// results that are not kept would otherwise be computed by one process after the other while all wait.
const MAX_FOLLOWED: usize = 2;
/// Steps in which a caller looks whether another process is done.
const FIRST_STEP: Duration = Duration::from_millis(1);
const LAST_STEP: Duration = Duration::from_millis(25);

/// What is to be computed, and on what terms it is kept.
#[derive(Debug)]
pub(super) struct Order {
    key: Key,
    tags: Vec<Tag>,
    name: String,
    ttl: Option<Duration>,
    stale: bool,
    /// Taken before the computation; `None` if the tier cannot be trusted, so that nothing is kept.
    stamps: Option<Stamps>,
    /// Whether somebody has been answered already, so that nobody needs to wait for it.
    background: bool,
}

impl Order {
    pub(super) fn new(wanted: &Wanted<'_>, stamps: Option<Stamps>, background: bool) -> Self {
        let &Wanted { key, name, tags, ttl, stale, .. } = wanted;
        Self { key, tags: tags.to_vec(), name: name.to_owned(), ttl, stale, stamps, background }
    }
}

/// Who computes.
enum Turn {
    /// The caller, from these stamps on; `None` keeps nothing.
    Ours(Option<Stamps>),
    /// Another process did.
    Done(Found),
    /// Another process does, and nobody needs to wait for it.
    Theirs,
}

/// How a computation ended.
#[derive(Default)]
struct Landed {
    told: Option<Told>,
    kept: Option<Entry>,
}

impl<T: Tier> Engine<T> {
    /// Carries a computation out, tells those who wait, keeps the result.
    pub(super) async fn fly<F, C>(self: Arc<Self>, landing: Landing, order: Order, compute: F)
    where
        F: FnOnce() -> C + Send + 'static,
        C: Future<Output = Computed> + Send + 'static,
    {
        let _nobody_needs_to_wait = order.background.then(|| landing.wait());
        let mut lease = None;
        let landed = tokio::select! {
            biased;
            landed = self.land(&order, compute, &mut lease) => landed,
            () = landing.deserted() => Landed::default(),
        };
        let Landed { told, kept } = landed;
        if kept.is_none() {
            // Else whoever comes before the entry can be found is told the same.
            landing.close();
        }
        if let Some(told) = told {
            landing.tell(told);
        }
        if let Some(entry) = kept {
            // Whatever comes of it is counted by the tier, and the caller has been answered.
            let _ = self.tier.store(&order.key, entry, lease).await;
        }
        if let Some(token) = lease {
            self.tier.release(&order.key, token).await;
        }
    }

    async fn land<F, C>(&self, order: &Order, compute: F, lease: &mut Option<Token>) -> Landed
    where
        F: FnOnce() -> C + Send + 'static,
        C: Future<Output = Computed> + Send + 'static,
    {
        let stamps = match self.turn(order, lease).await {
            Turn::Ours(stamps) => stamps,
            Turn::Done(Found { value, age }) => {
                return Landed {
                    told: Some(Told { value, source: Source::Elsewhere, age, only_one: false }),
                    kept: None,
                };
            }
            Turn::Theirs => return Landed::default(),
        };
        let computing = AssertUnwindSafe(async { compute().await }).catch_unwind();
        let computed = match *lease {
            Some(token) => tokio::select! {
                biased;
                computed = computing => computed,
                never = self.keep_lease(&order.key, token) => match never {},
            },
            None => computing.await,
        };
        // A panic has been reported by the hook; there is nothing to tell.
        computed.map_or_else(|_| Landed::default(), |computed| self.landed(order, stamps, computed))
    }

    /// Waits until another process has computed it, or it is the caller's turn.
    async fn turn(&self, order: &Order, lease: &mut Option<Token>) -> Turn {
        let Some(mut stamps) = order.stamps.clone() else { return Turn::Ours(None) };
        let (mut last_holder, mut followed, mut step) = (None, 0, FIRST_STEP);
        loop {
            match self.tier.lease(&order.key).await {
                Lease::Mine(token) => *lease = Some(token),
                Lease::None => return Turn::Ours(Some(stamps)),
                Lease::Held { left, .. } if order.background => {
                    self.elsewhere.note(order.key, left);
                    return Turn::Theirs;
                }
                Lease::Held { left, holder } => {
                    if last_holder.replace(holder) != Some(holder) {
                        followed += 1;
                    }
                    if followed > MAX_FOLLOWED {
                        return Turn::Ours(Some(stamps));
                    }
                    tokio::time::sleep(step.min(left.max(FIRST_STEP))).await;
                    step = (step * 2).min(LAST_STEP);
                }
            }
            // With the lease too: its last holder may have stored between the look before and now.
            match self.tier.look(&order.key, &order.tags).await {
                Looked::Fresh(found) => return Turn::Done(found),
                Looked::Stale(_, now) | Looked::Nothing(now) if lease.is_some() => return Turn::Ours(Some(now)),
                Looked::Stale(_, now) | Looked::Nothing(now) => stamps = now,
                Looked::Untrusted => return Turn::Ours(None),
            }
        }
    }

    /// Prolongs a lease for as long as it is one.
    async fn keep_lease(&self, key: &Key, token: Token) -> Infallible {
        loop {
            tokio::time::sleep(self.terms.lease / 3).await;
            if !self.tier.renew(key, token).await {
                // It is another's: what is computed is told all the same, and the tier refuses to keep it.
                return std::future::pending().await;
            }
        }
    }

    fn landed(&self, order: &Order, stamps: Option<Stamps>, computed: Computed) -> Landed {
        let source = if stamps.is_some() { Source::Here } else { Source::Untrusted };
        let stale = self.terms.stale(order.stale);
        let (value, times, only_one) = match computed {
            Computed::Keep(value) => (value, Some((self.terms.fresh(order.ttl), stale)), false),
            Computed::KeepBriefly(value) => (value, self.terms.negative().map(|fresh| (fresh, Duration::ZERO)), false),
            Computed::Tell(value) => (value, None, false),
            Computed::TellOne(value) => (value, None, true),
        };
        let kept = stamps.zip(times).and_then(|(stamps, times)| self.entry(order, &value, stamps, times));
        Landed { told: Some(Told { value, source, age: Duration::ZERO, only_one }), kept }
    }

    fn entry(
        &self,
        order: &Order,
        value: &Value,
        stamps: Stamps,
        (fresh, stale): (Duration, Duration),
    ) -> Option<Entry> {
        if value.len() as u64 > self.terms.entry_bytes {
            self.metrics.failed(CacheFault::TooLarge);
            return None;
        }
        let (value, name) = (value.clone(), order.name.clone());
        Some(Entry { value, stamps, name, created_ms: unix_ms(), fresh, stale })
    }
}

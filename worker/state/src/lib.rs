//! What must outlive a worker or reach another: records of sessions and tasks, revocations, the ledger of idempotent calls, rate
//! limits, and the event bus.
//!
//! # Layout
//! - `records`: values under a kind and a key, until they end; in memory, in files, or in Redis
//! - `ledger`: what became of calls with an idempotency key
//! - `runner`: whether the process that runs a call or a task lives; `place`: the same as the system of its machine knows it
//! - `rates`: how much each principal may send
//! - `collections`: what else the records are used for: sessions and their activity, revocations, tasks, events,
//!   answers, nonces
//! - `bus`: what one process says, all hear
//! - `outage`: what the log says of something that comes and goes
//! - `error`: why state cannot be read or written
//!
//! # Invariants
//! - What a client was told is kept was written before it was told.
//! - Every record has an end; every operation has a time limit; every queue has a bound.
//! - Delivery over the bus is a hint: who may have missed something is told to look at everything anew.
//! - `unsafe` is in `records/embedded/environment.rs` alone, for the map of LMDB.

mod bus;
mod collections;
mod error;
mod ledger;
mod outage;
mod place;
mod rates;
mod records;
mod runner;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use task_mcp_config::Settings;
use task_mcp_config::settings::StateBackend;
use task_mcp_redis::{Purpose, Redis};
use task_mcp_scoreboard::Commons;
use task_mcp_telemetry::{RedisMetrics, StateMetrics};

pub use bus::{Bus, Heard, Outbox, Outgoing, PAYLOAD_BYTES_MAX, Subscription, TOPIC_BYTES_MAX, TooLong};
pub use collections::{
    Activity, Alive, Answers, EVENTS_MAX, Events, NewTask, Nonces, Resumed, Revocations, Session, Sessions, TASK_TOPIC,
    Task, TaskStatus, Tasks, Transition,
};
pub use error::StateError;
pub use ledger::{Begun, Ledger, Ticket};
use rates::SharedRates;
pub use rates::{Payer, RateLimits, Verdict};
pub use records::Unreadable;
pub use runner::Running;

use crate::bus::machines::Machines;
use crate::records::Records;

/// How long a process that runs alone remembers a call: longer than it lives.
const ALONE_TTL: Duration = Duration::from_secs(86_400);

/// The state of one process. Cloning is cheap and shares it.
#[derive(Debug, Clone)]
pub struct State(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    records: Records,
    bus: Bus,
    /// If state is shared with other machines.
    shared: Option<Shared>,
    ledger: Ledger,
    sessions: Sessions,
    activity: Activity,
    revocations: Revocations,
    tasks: Tasks,
    answers: Answers,
    events: Events,
    nonces: Nonces,
}

/// How the state stands for a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// The backend of the settings: `embedded` or `redis`; `memory` for a process that runs alone.
    pub configured: &'static str,
    /// The backend that answers; `none` if none does.
    pub in_force: &'static str,
    /// What is wrong: `full`, `timeout`, `unreachable`, `replaced` or `failed`.
    pub reason: Option<&'static str>,
}

/// How often a process looks whether the state can be used.
const PROBE_PAUSE: Duration = Duration::from_secs(2);

/// What is shared with other machines beyond the records.
#[derive(Debug)]
struct Shared {
    machines: Machines,
    rates: SharedRates,
}

impl State {
    /// Opens the state of the settings for one process of an instance; within a tokio runtime.
    ///
    /// # Errors
    /// The settings cannot be used, or the state directory cannot be written.
    pub fn open(
        settings: &Settings,
        commons: &Commons,
        metrics: StateMetrics,
        redis: RedisMetrics,
    ) -> Result<Self, StateError> {
        let limit = Duration::from_millis(settings.state.timeout_ms);
        let idempotency_ttl = Duration::from_secs(settings.state.idempotency_ttl_s);
        match settings.state.backend {
            StateBackend::Embedded => {
                let state_dir = &settings.supervisor.state_dir;
                let records = Records::embedded(state_dir, settings.state.max_bytes, limit, metrics.clone())?;
                let state = Self::over(records, None, idempotency_ttl, metrics);
                state.keep_probing();
                Ok(state)
            }
            StateBackend::Redis => {
                // All keys begin with it, so that they lie in one slot of a cluster.
                let base = format!("{{{}:state}}", settings.redis.prefix);
                let redis = Redis::open(&settings.redis, Purpose::State, &base, redis)?;
                let records = Records::remote(redis.clone(), &base, limit, metrics.clone());
                let channel = format!("{}:bus", settings.redis.prefix);
                let origin = format!("{:016x}", commons.incarnation());
                let rates = SharedRates::new(redis.clone(), &base);
                let shared = Shared { machines: Machines { redis, channel, origin, limit }, rates };
                let state = Self::over(records, Some(shared), idempotency_ttl, metrics);
                let revocations = state.0.revocations.clone();
                tokio::spawn(async move { revocations.listen().await });
                state.keep_probing();
                Ok(state)
            }
        }
    }

    /// State in the memory of a process that runs alone, such as `task-mcp call`.
    pub fn alone(metrics: StateMetrics) -> Self {
        Self::over(Records::memory(metrics.clone()), None, ALONE_TTL, metrics)
    }

    /// Looks again and again whether the state can be used, until the last handle on it is gone.
    fn keep_probing(&self) {
        let parts = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            while let Some(parts) = parts.upgrade() {
                parts.records.probe().await;
                drop(parts);
                tokio::time::sleep(PROBE_PAUSE).await;
            }
        });
    }

    fn over(records: Records, shared: Option<Shared>, idempotency_ttl: Duration, metrics: StateMetrics) -> Self {
        let bus = match &shared {
            None => Bus::new(None, metrics.clone()),
            Some(shared) => {
                let elsewhere = Outbox::default();
                tokio::spawn(shared.machines.clone().publish(elsewhere.clone()));
                Bus::new(Some(elsewhere), metrics.clone())
            }
        };
        let ledger = Ledger::new(records.clone(), idempotency_ttl, metrics);
        Self(Arc::new(Parts {
            sessions: Sessions::new(records.clone()),
            activity: Activity::new(records.clone()),
            revocations: Revocations::new(records.clone(), bus.clone()),
            tasks: Tasks::new(records.clone(), bus.clone(), ledger.runner().clone()),
            answers: Answers::new(records.clone(), bus.clone()),
            events: Events::new(records.clone()),
            nonces: Nonces::new(records.clone()),
            ledger,
            bus,
            shared,
            records,
        }))
    }

    /// How the state stands for this process.
    pub fn health(&self) -> Health {
        let reason = self.0.records.trouble();
        let configured = self.0.records.backend();
        let in_force = match reason {
            None | Some("full" | "timeout") => configured,
            Some(_) => "none",
        };
        Health { configured, in_force, reason }
    }

    /// What became of calls with an idempotency key.
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// The event bus.
    pub fn bus(&self) -> &Bus {
        &self.0.bus
    }

    /// What sessions changed.
    pub fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// Which sessions were used lately.
    pub fn activity(&self) -> &Activity {
        &self.0.activity
    }

    /// What is not to be accepted any more.
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    /// Work that outlives its request.
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// What clients answer to somebody who waits.
    pub fn answers(&self) -> &Answers {
        &self.0.answers
    }

    /// What streams said.
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// What may be used once.
    pub fn nonces(&self) -> &Nonces {
        &self.0.nonces
    }

    /// How much each principal may send; `commons` are those of the instance.
    pub fn rate_limits(&self, commons: &Commons) -> RateLimits {
        RateLimits::new(commons, self.0.shared.as_ref().map(|shared| shared.rates.clone()))
    }

    /// Does the chores of the machine, for ever: for one process of an instance. What other instances publish is heard in this one when
    /// `beforehand` is done with it.
    pub async fn keep_house<Done: Future<Output = ()>>(&self, beforehand: impl Fn(Heard) -> Done) {
        let hands_on = async {
            match &self.0.shared {
                Some(shared) => shared.machines.hand_on(&self.0.bus, beforehand).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(self.0.records.keep_house(), hands_on);
    }
}

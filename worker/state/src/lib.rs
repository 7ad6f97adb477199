//! What must outlive a worker or reach another: records of sessions and tasks, revocations, the ledger of idempotent calls, rate
//! limits, and the event bus.
//!
//! # Layout
//! - `ledger`: what became of calls with an idempotency key
//! - `rates`: how much each principal may send
//! - `error`: why state cannot be read or written
//!
//! # Invariants
//! - What a client was told is kept was written before it was told.
//! - Every record has an end; every operation has a time limit; every queue has a bound.
//! - Delivery over the bus is a hint: who may have missed something is told to look at everything anew.

mod error;
mod ledger;
mod rates;

use task_mcp_config::Settings;
use task_mcp_config::settings::StateBackend;
use task_mcp_redis::{Purpose, Redis};
use task_mcp_scoreboard::Commons;
use task_mcp_telemetry::{RedisMetrics, StateMetrics};

pub use error::StateError;
pub use ledger::{Begun, Ledger, Ticket};
use rates::SharedRates;
pub use rates::{Payer, RateLimits, Verdict};

/// The state of one process. Cloning is cheap and shares it.
#[derive(Debug, Clone)]
pub struct State {
    ledger: Ledger,
    shared_rates: Option<SharedRates>,
}

impl State {
    /// Opens the state of the settings for one process of an instance; within a tokio runtime.
    ///
    /// # Errors
    /// The settings cannot be used, or the state directory cannot be written.
    pub fn open(
        settings: &Settings,
        _commons: &Commons,
        metrics: StateMetrics,
        redis: RedisMetrics,
    ) -> Result<Self, StateError> {
        let shared_rates = match settings.state.backend {
            StateBackend::Embedded => None,
            StateBackend::Redis => {
                let prefix = format!("{{{}:state}}", settings.redis.prefix);
                let connection = Redis::open(&settings.redis, Purpose::State, &prefix, redis)?;
                Some(SharedRates::new(connection, &prefix))
            }
        };
        Ok(Self { shared_rates, ..Self::alone(metrics) })
    }

    /// State in the memory of a process that runs alone, such as `task-mcp call`.
    pub fn alone(metrics: StateMetrics) -> Self {
        Self { ledger: Ledger::alone(metrics), shared_rates: None }
    }

    /// What became of calls with an idempotency key.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How much each principal may send; `commons` are those of the instance.
    pub fn rate_limits(&self, commons: &Commons) -> RateLimits {
        RateLimits::new(commons, self.shared_rates.clone())
    }

    /// Does the chores of the machine, for ever: for one process of an instance.
    pub async fn keep_house(&self) {
        std::future::pending::<()>().await;
    }
}

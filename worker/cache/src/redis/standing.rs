//! Whether the tier can be used now, and the gauge that says so.

use std::time::Duration;

use task_mcp_redis::{BreakerState, ConnectionStatus, Redis};
use task_mcp_scoreboard::Gauge;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::machine::Machine;

/// How often the gauge is brought up to date, whether or not anybody asks the tier something.
const SHOW_EVERY: Duration = Duration::from_millis(250);

/// Why this process does without Redis; `None` if it does not.
pub(super) fn reason(redis: &Redis, machine: &Machine) -> Option<String> {
    let status = redis.status();
    match (status.connection, status.breaker) {
        (ConnectionStatus::Connecting, _) => Some("the connection to Redis is being made".to_owned()),
        (ConnectionStatus::Down { reason, .. }, _) => Some(reason),
        (ConnectionStatus::Up { .. }, BreakerState::Closed) => (machine.adopted() == 0)
            .then(|| "this machine's housekeeper has not made sure of the epochs in Redis yet".to_owned()),
        (ConnectionStatus::Up { .. }, _) => Some("Redis failed too often and is left alone for now".to_owned()),
    }
}

/// The task that shows it; it ends with its handle.
#[derive(Debug)]
pub(super) struct Watch(JoinHandle<()>);

impl Watch {
    /// Within a tokio runtime.
    pub(super) fn start(redis: Redis, machine: Machine, degraded: Gauge) -> Self {
        degraded.set(1);
        Self(tokio::spawn(async move {
            let mut show = interval(SHOW_EVERY);
            show.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                show.tick().await;
                degraded.set(i64::from(reason(&redis, &machine).is_some()));
            }
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

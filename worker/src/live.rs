//! The settings that change while a worker runs.

use std::time::Duration;

use task_mcp_config::Settings;
use task_mcp_scoreboard::Quota;

use crate::public::access::Access;

/// The part of the settings that a worker takes over in place. One value is replaced as a whole; a request keeps the one it began
/// with.
#[derive(Debug)]
pub(crate) struct Live {
    /// Who may call.
    pub(crate) access: Access,
    pub(crate) limits: RequestLimits,
    pub(crate) tasks: TaskLimits,
    /// What a drain is given when nobody says.
    pub(crate) drain_timeout: Duration,
    /// How long a drain serves on.
    pub(crate) lame_duck: Duration,
}

/// What one request may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    pub(crate) body_bytes: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) json_depth: u32,
    pub(crate) heartbeat: Duration,
    /// How long a client may take to answer.
    pub(crate) ask_timeout: Duration,
    /// Of one principal; `None` = no limit.
    pub(crate) rate: Option<Quota>,
    pub(crate) response_bytes: usize,
    pub(crate) streams_per_principal: u32,
    /// Of one stream or session.
    pub(crate) subscriptions: u32,
    pub(crate) stream_buffer_bytes: usize,
    /// How long the events of a stream can be fetched again.
    pub(crate) event_ttl: Duration,
}

/// What tasks may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskLimits {
    /// How long one is kept from its creation.
    pub(crate) ttl: Duration,
    /// How many of one principal may be alive.
    pub(crate) per_principal: usize,
}

impl Live {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            access: Access::new(settings),
            limits: RequestLimits {
                body_bytes: usize::try_from(settings.limits.body_bytes).unwrap_or(usize::MAX),
                body_timeout: Duration::from_millis(settings.limits.body_timeout_ms),
                json_depth: settings.limits.json_depth,
                heartbeat: Duration::from_millis(settings.server.heartbeat_ms),
                ask_timeout: Duration::from_secs(settings.tools.ask_timeout_s),
                rate: rate(settings.limits.requests_per_minute, settings.limits.burst),
                response_bytes: usize::try_from(settings.limits.response_bytes).unwrap_or(usize::MAX),
                streams_per_principal: settings.limits.streams_per_principal,
                subscriptions: settings.limits.subscriptions,
                stream_buffer_bytes: usize::try_from(settings.limits.stream_buffer_bytes).unwrap_or(usize::MAX),
                event_ttl: Duration::from_secs(settings.state.event_ttl_s),
            },
            tasks: TaskLimits {
                ttl: Duration::from_secs(settings.state.task_ttl_s),
                per_principal: settings.limits.tasks_per_principal as usize,
            },
            drain_timeout: Duration::from_secs(settings.supervisor.drain_timeout_s),
            lame_duck: Duration::from_millis(settings.supervisor.lame_duck_ms),
        }
    }
}

/// What one principal may send.
fn rate(requests_per_minute: u32, burst: u32) -> Option<Quota> {
    const MINUTE_US: u64 = 60_000_000;
    let a_minute = u64::from(requests_per_minute);
    let burst = if burst == 0 { a_minute + a_minute.div_ceil(2) } else { burst.into() };
    // Rounded so that never more than the limit passes.
    (a_minute > 0).then(|| Quota { period_us: MINUTE_US.div_ceil(a_minute), burst })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_off_or_has_a_burst_of_its_own_or_of_half_as_much_again() {
        assert_eq!(rate(0, 0), None);
        assert_eq!(rate(0, 10), None);
        assert_eq!(rate(60, 0), Some(Quota { period_us: 1_000_000, burst: 90 }));
        assert_eq!(rate(7, 3), Some(Quota { period_us: 8_571_429, burst: 3 }));
        assert_eq!(rate(1, 0), Some(Quota { period_us: 60_000_000, burst: 2 }));
    }
}

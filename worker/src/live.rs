//! The settings that change while a worker runs.

use std::time::Duration;

use task_mcp_config::Settings;

use crate::public::access::Access;

/// The part of the settings that a worker takes over in place. One value is replaced as a whole; a request keeps the one it began
/// with.
#[derive(Debug)]
pub(crate) struct Live {
    /// Who may call.
    pub(crate) access: Access,
    pub(crate) limits: RequestLimits,
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
            },
            drain_timeout: Duration::from_secs(settings.supervisor.drain_timeout_s),
            lame_duck: Duration::from_millis(settings.supervisor.lame_duck_ms),
        }
    }
}

//! What connections may cost.

use std::time::Duration;

use task_mcp_config::Settings;

/// What connections may cost. It does not change while the process runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Without a request.
    pub(crate) keep_alive: Duration,
    /// For the headers of a request.
    pub(crate) headers_timeout: Duration,
    /// From the end of the answer to the end of the connection.
    pub(crate) disconnect_timeout: Duration,
    /// A stream without traffic, a connection without a request.
    pub(crate) idle_timeout: Duration,
    /// Of the instance, over all workers, whoever accepted them.
    pub(crate) most: u64,
    /// Of one client address, over all workers.
    pub(crate) most_per_address: u64,
}

impl ConnectionLimits {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            keep_alive: Duration::from_secs(settings.limits.keep_alive_s),
            headers_timeout: Duration::from_millis(settings.limits.headers_timeout_ms),
            disconnect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(settings.limits.idle_timeout_s),
            most: settings.limits.max_connections.into(),
            most_per_address: settings.limits.max_connections_per_ip.into(),
        }
    }

    /// Sockets a worker may hold, which may have all connections of the instance: at its own limit actix stops accepting, and
    /// whoever comes then would wait without a word instead of being told. So it lies above ours by those that are being closed and
    /// those that are being told.
    pub(crate) fn most_sockets(&self) -> usize {
        usize::try_from(self.most).unwrap_or(usize::MAX).saturating_mul(2).saturating_add(super::refuse::TOLD_MAX)
    }
}

//! What the supervisor tells a process, and what of it both kinds of process do alike.

use std::os::fd::OwnedFd;
use std::time::Duration;

use task_mcp_config::Settings;
use task_mcp_config::settings::LogLevel;
use task_mcp_link::{FromProcess, ToProcess};

use crate::link::{Link, Told};
use crate::process::{Logs, read_snapshot};

/// What a process that cannot take settings over gives itself to finish its calls.
const LEAVE: Duration = Duration::from_secs(30);

/// What is left for the process itself to do.
pub(crate) enum Order {
    /// Take leave within this time.
    Drain(Duration),
    /// Take over settings, then say so with [`applied`].
    Apply { revision: u64, settings: Box<Settings> },
    /// Accept what waits in the queues of a slot.
    Adopt { slot: u16, sockets: Vec<OwnedFd> },
}

/// Does what concerns the log, and gives back what does not.
pub(crate) fn heed(told: Told, logs: Logs) -> Option<Order> {
    let Told { message, descriptors } = told;
    match message {
        ToProcess::Drain { deadline_ms } => Some(Order::Drain(Duration::from_millis(deadline_ms))),
        ToProcess::Apply { revision } => match descriptors.first().map(read_snapshot) {
            Some(Ok(settings)) => {
                (logs.apply)(&settings.telemetry);
                Some(Order::Apply { revision, settings: Box::new(settings) })
            }
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                // One that is started with them can say more, and nobody waits for an answer that never comes.
                tracing::error!(
                    revision,
                    error,
                    "The settings cannot be taken over; the process makes room for a new one."
                );
                Some(Order::Drain(LEAVE))
            }
            None => {
                tracing::error!(
                    revision,
                    "The settings cannot be taken over without a descriptor; the process makes room for a new one."
                );
                Some(Order::Drain(LEAVE))
            }
        },
        // The supervisor tells again as long as something waits.
        ToProcess::Adopt { .. } if descriptors.is_empty() => None,
        ToProcess::Adopt { slot, .. } => Some(Order::Adopt { slot, sockets: descriptors }),
        ToProcess::LogLevel { level } => {
            match LogLevel::from_word(&level) {
                Some(level) => {
                    (logs.set_level)(level);
                    tracing::debug!(level = level.word(), "The log level was changed.");
                }
                None => tracing::warn!(level, "The supervisor named a log level this version does not know."),
            }
            None
        }
        ToProcess::ReopenLogs => {
            (logs.reopen)();
            None
        }
    }
}

/// Tells the supervisor that the process works with the settings of this number.
pub(crate) async fn applied(link: &mut Link, revision: u64) {
    tracing::info!(revision, "Settings were taken over.");
    // A supervisor that is gone is noticed when it is listened to.
    let _ = link.tell(&FromProcess::Applied { revision }).await;
}

//! What the supervisor tells a process, and what of it both kinds of process do alike.

use std::os::fd::OwnedFd;
use std::time::Duration;

use task_mcp_config::Settings;
use task_mcp_config::settings::LogLevel;
use task_mcp_link::{FromProcess, ToProcess};
use task_mcp_state::{Bus, Outbox, Outgoing};

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
    /// Answer a question of an operator.
    Answer { id: u64, question: String },
}

/// What happens on the link.
pub(crate) enum Happened {
    /// The supervisor said something.
    Told(Told),
    /// An event is to be told to the other processes.
    Publishes(Outgoing),
    /// The supervisor is gone.
    Gone,
}

/// The next thing that happens on the link. Cancel-safe.
pub(crate) async fn happens(link: &mut Link, outbox: &Outbox) -> Happened {
    let has_room = link.has_room();
    tokio::select! {
        told = link.next() => told.map_or(Happened::Gone, Happened::Told),
        outgoing = outbox.next(), if has_room => Happened::Publishes(outgoing),
    }
}

/// Hands an event to the supervisor, who tells it to the other processes.
pub(crate) fn publish(link: &mut Link, outgoing: Outgoing) {
    let message = match outgoing {
        Outgoing::Event { topic, payload } => FromProcess::Publish { topic, payload },
        Outgoing::Resync => FromProcess::PublishLost,
    };
    if let Err(error) = link.post(&message) {
        tracing::error!(error = %error, "An event could not be told to the other processes.");
    }
}

/// Does what concerns the log and the event bus, and gives back what does not.
pub(crate) fn heed(told: Told, logs: Logs, bus: &Bus) -> Option<Order> {
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
        ToProcess::Event { topic, payload } => {
            bus.deliver(&topic, &payload);
            None
        }
        ToProcess::Resync => {
            bus.resync();
            None
        }
        ToProcess::Ask { id, question } => Some(Order::Answer { id, question }),
    }
}

/// Tells the supervisor that the process works with the settings of this number.
pub(crate) async fn applied(link: &mut Link, revision: u64) {
    tracing::info!(revision, "Settings were taken over.");
    // A supervisor that is gone is noticed when it is listened to.
    let _ = link.tell(&FromProcess::Applied { revision }).await;
}

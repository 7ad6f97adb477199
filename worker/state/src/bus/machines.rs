//! The bus between machines that share a Redis: every process publishes there what it tells the processes of its machine, and the
//! admin process of each machine hands on what others publish.
//!
//! A message is a JSON object `{"origin": "<instance>", "topic": …, "payload": …}`, or one without topic: then events were lost.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use task_mcp_redis::{Heard as Told, Redis, RedisError};
use tokio::time::{sleep, timeout};

use crate::outage::{Outage, QUIET};

use super::{Bus, Heard, Outbox, Outgoing, PAYLOAD_BYTES_MAX, TOPIC_BYTES_MAX};

/// First and longest pause after a failure.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The channel, and this machine's name on it.
#[derive(Debug, Clone)]
pub(crate) struct Machines {
    pub(crate) redis: Redis,
    pub(crate) channel: String,
    /// Of the instance; processes of one machine have the same.
    pub(crate) origin: String,
    /// How long a message may take to be published.
    pub(crate) limit: Duration,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Message {
    origin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(default)]
    payload: String,
}

impl Machines {
    /// Publishes what is in `outbox`, for ever. What cannot be published is lost, and the others are told so as soon as possible.
    pub(crate) async fn publish(self, outbox: Outbox) {
        let outage = Outage::default();
        let mut pause = PAUSE;
        let mut owes = false;
        loop {
            if !owes && outage.succeeded() {
                tracing::info!("Events are published to other machines again.");
            }
            let outgoing = match owes {
                true => Outgoing::Resync,
                // If nothing is to be said meanwhile, nothing fails.
                false => match unless_quiet(&outage, outbox.next()).await {
                    Some(outgoing) => outgoing,
                    None => continue,
                },
            };
            match self.send(outgoing).await {
                Ok(()) => {
                    owes = false;
                    pause = PAUSE;
                }
                Err(error) => {
                    owes = true;
                    if outage.failed() {
                        tracing::warn!(error = %error, "Events cannot be published to other machines; they are told when they can.");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    // They are made up for by the word to look anew.
                    outbox.clear();
                }
            }
        }
    }

    /// Hands on what other machines publish, for ever: for one process of an instance. Each event is handed on when `beforehand` is done
    /// with it.
    pub(crate) async fn hand_on<Done: Future<Output = ()>>(&self, bus: &Bus, beforehand: impl Fn(Heard) -> Done) {
        let outage = Outage::default();
        // It fails only without a channel; a server that is away is looked for again and again.
        let Ok(mut subscription) = self.redis.subscribe(std::slice::from_ref(&self.channel)).await else {
            return std::future::pending().await;
        };
        let mut is_lost = false;
        let mut understands = true;
        loop {
            if !is_lost && outage.succeeded() {
                tracing::info!("Events of other machines are heard again.");
            }
            let Some(told) = unless_quiet(&outage, subscription.next()).await else { continue };
            match told {
                // What was published before is unknown, also the first time: others started earlier.
                Told::Joined { .. } => {
                    is_lost = false;
                    beforehand(Heard::Resync).await;
                    bus.resync_machine();
                }
                Told::Lost { reason } => {
                    is_lost = true;
                    if outage.failed() {
                        tracing::warn!(
                            reason,
                            "Events of other machines cannot be heard; all is looked at anew when they can."
                        );
                    }
                }
                Told::Message { payload, .. } => match understand(&payload) {
                    Some(message) if message.origin == self.origin => {}
                    Some(Message { topic: Some(topic), payload, .. }) => {
                        beforehand(Heard::Event { topic: topic.as_str().into(), payload: payload.as_str().into() })
                            .await;
                        bus.deliver_machine(&topic, &payload);
                    }
                    Some(Message { topic: None, .. }) => {
                        beforehand(Heard::Resync).await;
                        bus.resync_machine();
                    }
                    None => {
                        beforehand(Heard::Resync).await;
                        // Whoever writes nonsense may have meant an event.
                        bus.resync_machine();
                        if std::mem::take(&mut understands) {
                            tracing::warn!(
                                channel = self.channel,
                                "Something on the channel of events is none; it is left aside."
                            );
                        }
                    }
                },
            }
        }
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), RedisError> {
        let origin = self.origin.clone();
        let message = match outgoing {
            Outgoing::Event { topic, payload } => Message { origin, topic: Some(topic), payload },
            Outgoing::Resync => Message { origin, topic: None, payload: String::new() },
        };
        // Strings are always JSON.
        let text = serde_json::to_string(&message).unwrap_or_default();
        let published = self.redis.ask::<i64>(redis::cmd("PUBLISH").arg(&self.channel).arg(text), self.limit).await;
        published.map(drop)
    }
}

/// What comes, unless nothing does for so long that it may be said that all is well again.
async fn unless_quiet<T>(outage: &Outage, next: impl Future<Output = T>) -> Option<T> {
    if outage.is_told() { timeout(QUIET, next).await.ok() } else { Some(next.await) }
}

fn understand(bytes: &[u8]) -> Option<Message> {
    // A string of JSON takes up to six bytes for one.
    if bytes.len() > 6 * (PAYLOAD_BYTES_MAX + TOPIC_BYTES_MAX) + 1_024 {
        return None;
    }
    let message: Message = serde_json::from_slice(bytes).ok()?;
    let topic_bytes = message.topic.as_ref().map_or(0, String::len);
    (topic_bytes <= TOPIC_BYTES_MAX && message.payload.len() <= PAYLOAD_BYTES_MAX).then_some(message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_event_is_left_aside() {
        let long = format!(r#"{{"origin":"a","topic":"t","payload":"{}"}}"#, "x".repeat(PAYLOAD_BYTES_MAX + 1));
        for bytes in [b"".as_slice(), b"{}", b"\xff", b"[1]", br#"{"origin":1}"#, long.as_bytes()] {
            assert_eq!(understand(bytes), None);
        }
        let lost = understand(br#"{"origin":"a","later":1}"#).unwrap();
        assert_eq!((lost.topic, lost.payload.as_str()), (None, ""));
    }
}

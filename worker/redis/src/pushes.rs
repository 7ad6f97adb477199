//! Messages of a subscription on their way from the connection to who listens.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use redis::{PushInfo, PushKind, Value, aio::SendError};
use tokio::sync::mpsc;

/// Messages that may wait for who listens. More of them end the connection: who is behind that far must start anew in any case.
pub(crate) const MESSAGES_MAX: usize = 1024;

/// A message of a channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Push {
    pub(crate) channel: String,
    pub(crate) payload: Vec<u8>,
}

/// The connection's end of a bounded queue. It never waits: the connection's answers stand behind it.
#[derive(Debug)]
pub(crate) struct Pushes {
    queue: mpsc::Sender<Push>,
    overflowed: Arc<AtomicBool>,
}

/// The listener's end.
#[derive(Debug)]
pub(crate) struct Arrivals {
    queue: mpsc::Receiver<Push>,
    overflowed: Arc<AtomicBool>,
}

/// A queue.
pub(crate) fn queue() -> (Pushes, Arrivals) {
    let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
    let overflowed = Arc::new(AtomicBool::new(false));
    (Pushes { queue: sender, overflowed: Arc::clone(&overflowed) }, Arrivals { queue: receiver, overflowed })
}

impl Arrivals {
    /// The next message; none when the connection has ended or a message was lost. Can be cancelled.
    pub(crate) async fn next(&mut self) -> Option<Push> {
        if self.overflowed() { None } else { self.queue.recv().await }
    }

    /// The next message if one is there.
    pub(crate) fn waiting(&mut self) -> Option<Push> {
        if self.overflowed() { None } else { self.queue.try_recv().ok() }
    }

    /// Whether a message was lost because too many waited.
    pub(crate) fn overflowed(&self) -> bool {
        // Set by the connection's task before anything else comes of it; nothing else is published by it.
        self.overflowed.load(Ordering::Relaxed)
    }
}

impl redis::aio::AsyncPushSender for Pushes {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        let Some(push) = message(info) else { return Ok(()) };
        self.queue.try_send(push).map_err(|_| {
            self.overflowed.store(true, Ordering::Relaxed);
            SendError
        })
    }
}

/// What a push says, if it is a message. Confirmations and what a server invents are not.
fn message(info: PushInfo) -> Option<Push> {
    if info.kind != PushKind::Message {
        return None;
    }
    let [channel, payload] = <[Value; 2]>::try_from(info.data).ok()?;
    let channel = String::from_utf8(bytes(channel)?).ok()?;
    Some(Push { channel, payload: bytes(payload)? })
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use redis::aio::AsyncPushSender;

    use super::*;

    fn info(kind: PushKind, data: &[&str]) -> PushInfo {
        PushInfo { kind, data: data.iter().map(|text| Value::BulkString(text.as_bytes().to_vec())).collect() }
    }

    #[tokio::test]
    async fn only_messages_arrive_and_an_overflow_ends_it() {
        let (pushes, mut arrivals) = queue();
        pushes.send(info(PushKind::Subscribe, &["c", "1"])).unwrap();
        pushes.send(info(PushKind::Message, &["c", "x", "y"])).unwrap();
        pushes.send(info(PushKind::Message, &["c", "x"])).unwrap();
        assert_eq!(arrivals.next().await, Some(Push { channel: "c".into(), payload: b"x".to_vec() }));
        assert_eq!(arrivals.waiting(), None);
        for _ in 0..MESSAGES_MAX {
            pushes.send(info(PushKind::Message, &["c", "x"])).unwrap();
        }
        assert!(!arrivals.overflowed());
        assert!(pushes.send(info(PushKind::Message, &["c", "x"])).is_err());
        assert_eq!((arrivals.overflowed(), arrivals.next().await), (true, None));
    }
}

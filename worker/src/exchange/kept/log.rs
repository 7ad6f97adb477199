//! What is kept of the stream of a request, for whoever comes back for it.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::web::Data;
use task_mcp_mcp::sealed::random_id;
use task_mcp_state::EVENTS_MAX;

use crate::app::App;
use crate::sessions::Session;

/// What an event is: the first byte of what is kept of it.
pub(super) const PRIMING: u8 = b'p';
pub(super) const MESSAGE: u8 = b'm';
/// The last one of its stream.
pub(super) const ANSWER: u8 = b'a';
/// Nothing more comes, and there is no answer.
pub(super) const END: u8 = b'e';

/// Topics of a stream: it has events that a connection of its own did not carry; another connection has taken it over.
pub(super) const MORE: &str = "more";
pub(super) const TAKEN: &str = "taken";

/// Bytes kept of one stream: what is large comes in pieces, which are not kept, and nobody comes back for more than he can have missed.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// What is kept of a stream, by the one who fills it.
pub(super) struct Log {
    app: Data<App>,
    name: String,
    stream: String,
    ttl: Duration,
    sizes: Sizes,
}

impl Log {
    /// A new stream of a session; `None` if the system gives no random numbers.
    pub(super) fn new(app: &Data<App>, session: &Session) -> Option<Self> {
        let id = random_id().ok()?;
        let stream = id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Some(Self {
            name: stream_name(session, &stream),
            stream,
            ttl: app.live.load().limits.event_ttl,
            app: app.clone(),
            sizes: Sizes::default(),
        })
    }

    /// Keeps an event; its id, if that could be done. Without, the stream goes on and cannot be fetched again.
    pub(super) async fn keep(&mut self, kind: u8, message: &[u8]) -> Option<String> {
        let payload = [&[kind], message].concat();
        let events = self.app.state.events();
        let bytes = payload.len();
        match events.append(&self.name, payload.into(), self.ttl).await {
            Ok(number) => {
                for oldest in self.sizes.add(number, bytes) {
                    // What cannot be forgotten now ends with its time.
                    let _ = events.forget(&self.name, oldest).await;
                }
                Some(format!("{}.{number:x}", self.stream))
            }
            Err(error) => {
                tracing::debug!(error = %error, "An event of a stream is not kept.");
                None
            }
        }
    }

    pub(super) fn topic(&self, word: &str) -> String {
        topic(&self.name, word)
    }

    pub(super) fn say(&self, word: &str) {
        // Topics are far below the limits of the bus.
        let _ = self.app.state.bus().publish(&self.topic(word), "");
    }
}

/// Names a stream in the state.
pub(super) fn stream_name(session: &Session, stream: &str) -> String {
    format!("{}/stream/{stream}", session.name())
}

pub(super) fn topic(name: &str, word: &str) -> String {
    format!("{name}/{word}")
}

/// How large the kept events are, the oldest first.
#[derive(Debug, Default)]
struct Sizes {
    events: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl Sizes {
    /// One more event is kept: those that go for it. The newest always stays.
    fn add(&mut self, number: u64, bytes: usize) -> Vec<u64> {
        self.events.push_back((number, bytes));
        self.bytes += bytes;
        // These the state lets go by itself.
        while let Some((oldest, bytes)) = self.events.front().copied()
            && oldest + EVENTS_MAX <= number
        {
            self.events.pop_front();
            self.bytes -= bytes;
        }
        let mut gone = Vec::new();
        while self.events.len() > 1 && self.bytes > KEPT_BYTES_MAX {
            let Some((oldest, bytes)) = self.events.pop_front() else { break };
            self.bytes -= bytes;
            gone.push(oldest);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_events_go_and_the_newest_stays_however_large_it_is() {
        let mut sizes = Sizes::default();
        assert!((0..4).all(|number| sizes.add(number, KEPT_BYTES_MAX / 4).is_empty()));
        assert_eq!(sizes.add(4, 1), [0]);
        assert_eq!(sizes.add(5, KEPT_BYTES_MAX / 2), [1, 2]);
        assert_eq!(sizes.add(6, KEPT_BYTES_MAX * 2), [3, 4, 5]);
        assert_eq!(sizes.add(7, 1), [6]);
        assert_eq!((sizes.events.len(), sizes.bytes), (1, 1));
        assert!((8..8 + EVENTS_MAX * 2).all(|number| sizes.add(number, 1).is_empty()));
        assert_eq!((sizes.events.len() as u64, sizes.bytes as u64), (EVENTS_MAX, EVENTS_MAX));
    }
}

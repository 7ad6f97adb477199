//! The rest of a stream that broke, told to whoever comes back for it.

use std::time::Duration;

use actix_web::web::Data;
use task_mcp_state::{Heard, StateError};
use tokio::time::{Instant, sleep};

use super::log::{ANSWER, MESSAGE, MORE, PRIMING, TAKEN, stream_name, topic};
use crate::app::App;
use crate::exchange::frames;
use crate::exchange::outlet::{Emission, Outlet};
use crate::sessions::Session;

/// How often who waits for events looks, should the bus have lost the word.
const LOOK: Duration = Duration::from_millis(500);
/// Events that are read at once.
const PAGE: usize = 64;

/// Names an event: the stream, and its number there. Which session the stream belongs to is not in it: it is looked for in the one
/// that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventId {
    stream: String,
    number: u64,
}

impl EventId {
    /// Reads a `Last-Event-ID`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        const STREAM_DIGITS: usize = 32;
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let (stream, number) = text.split_once('.')?;
        if stream.len() != STREAM_DIGITS || !is_hex(stream) || !is_hex(number) {
            return None;
        }
        Some(Self { stream: stream.to_owned(), number: u64::from_str_radix(number, 16).ok()? })
    }

    /// Whether anything is known of it in that session.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) async fn is_known(&self, app: &App, session: &Session) -> Result<bool, StateError> {
        let resumed = app.state.events().after(&self.name(session), self.number, 1).await?;
        Ok(resumed.is_complete || !resumed.events.is_empty())
    }

    fn name(&self, session: &Session) -> String {
        stream_name(session, &self.stream)
    }
}

/// Tells what came after an event, and goes on until the answer was told, or until another connection takes the stream over: a
/// message goes to one only (specification 2025-11-25, "Streamable HTTP", multiple connections).
pub(crate) async fn replay(app: Data<App>, session: Session, id: EventId, outlet: Outlet) {
    let name = id.name(&session);
    let taken = topic(&name, TAKEN);
    // Before the first look, so that nothing falls between.
    let mut more = app.state.bus().subscribe(&[&topic(&name, MORE), &taken, &session.ended()]);
    let me = uuid::Uuid::new_v4().simple().to_string();
    let _ = app.state.bus().publish(&taken, &me);
    // What was said before this one spoke comes from those it follows.
    let mut has_spoken = false;
    let patience = app.live.load().limits.event_ttl;
    let (mut after, mut since) = (id.number, Instant::now());
    loop {
        let Ok(resumed) = app.state.events().after(&name, after, PAGE).await else { return };
        let is_page = resumed.events.len() == PAGE;
        for (number, payload) in resumed.events {
            (after, since) = (number, Instant::now());
            let Some((kind, message)) = payload.split_first() else { return };
            let id = format!("{}.{number:x}", id.stream);
            let frame = match *kind {
                PRIMING => continue,
                MESSAGE | ANSWER => frames::message(Some(&id), message),
                _ => return,
            };
            app.metrics.mcp.messages.add(1);
            if outlet.send(Emission::Framed(frame)).await.is_err() || *kind == ANSWER {
                return;
            }
        }
        if is_page {
            continue;
        }
        // Whoever ran the call may be dead.
        if since.elapsed() >= patience {
            return;
        }
        tokio::select! {
            heard = more.next() => match &heard {
                Heard::Event { topic, .. } if **topic == *session.ended() => return,
                Heard::Event { topic, payload } if **topic == *taken => {
                    if **payload == *me {
                        has_spoken = true;
                    } else if has_spoken {
                        return;
                    }
                }
                Heard::Event { .. } => {}
                Heard::Resync => has_spoken = true,
            },
            () = sleep(LOOK) => {}
            () = app.streams.ending() => return,
            () = outlet.left() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_server_made_is_an_event_id() {
        let stream = "0123456789abcdef0123456789abcdef";
        let id = EventId::parse(&format!("{stream}.1f")).unwrap();
        assert_eq!((id.stream.as_str(), id.number), (stream, 0x1f));
        for bad in [
            "",
            ".",
            "1.1",
            &format!("{stream}."),
            &format!("{stream}.-1"),
            &format!("{stream}.1.2"),
            &format!("{stream}/x.1"),
            &format!("{}.1", stream.to_uppercase()),
            &format!("{stream}.11111111111111111"),
        ] {
            assert_eq!(EventId::parse(bad), None, "{bad:?}");
        }
    }
}

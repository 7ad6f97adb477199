//! Streams of requests in a legacy session: their call goes on when the connection breaks, and what was said can be fetched again,
//! from any worker.
//!
//! Source: specification 2025-11-25, "Streamable HTTP", resumability and redelivery.

use std::time::Duration;

use actix_web::rt;
use actix_web::web::{Bytes, Data};
use serde_json::Value;
use task_mcp_mcp::sealed::random_id;
use task_mcp_mcp::{LogLevel, Revision};
use task_mcp_state::{Heard, StateError, Subscription};
use tokio::time::{Instant, sleep};

use super::driven::{Driven, Step};
use super::frames;
use super::outlet::{Emission, Outlet};
use super::streams::Detached;
use super::{Answered, pieces};
use crate::app::App;
use crate::sessions::Session;

/// How often who waits for events looks, should the bus have lost the word.
const LOOK: Duration = Duration::from_millis(500);
/// Events that are read at once.
const PAGE: usize = 64;

/// What an event is: the first byte of what is kept of it.
const PRIMING: u8 = b'p';
const MESSAGE: u8 = b'm';
/// The last one of its stream.
const ANSWER: u8 = b'a';
/// Nothing more comes, and there is no answer.
const END: u8 = b'e';

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
        format!("{}/stream/{}", session.name(), self.stream)
    }
}

/// The stream of one request while its call runs.
pub(crate) struct Kept {
    pub(crate) app: Data<App>,
    pub(crate) session: Session,
    /// The id of the request, as JSON.
    pub(crate) request: String,
    pub(crate) driven: Driven<Answered>,
    /// The beginning of the result, should it come in pieces.
    pub(crate) head: Bytes,
    /// Hears which requests of the session are cancelled.
    pub(crate) cancelled: Subscription,
    /// What goes to the connection.
    pub(crate) frames: Outlet,
    pub(crate) levels: Levels,
}

/// Which log messages a session wants to hear: looked up when the first one comes.
pub(crate) struct Levels {
    session: Session,
    least: Option<Option<LogLevel>>,
}

impl Levels {
    pub(crate) fn new(session: Session) -> Self {
        Self { session, least: None }
    }

    /// Whether the session wants to hear messages of that level.
    pub(crate) async fn admit(&mut self, app: &App, level: LogLevel) -> bool {
        let least = match self.least {
            Some(least) => least,
            None => *self.least.insert(super::session::log_level(app, &self.session).await),
        };
        least.is_some_and(|least| level >= least)
    }
}

/// Whether somebody cancels the request of that id, which is JSON.
pub(crate) fn cancels(heard: &Heard, request: &str) -> bool {
    let Heard::Event { payload, .. } = heard else { return false };
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    **payload == *request || (parsed(payload).is_some() && parsed(payload) == parsed(request))
}

impl Kept {
    /// Runs the call to its end in a task of its own; `first` is what it has told already.
    pub(crate) fn start(self, first: Option<Emission>) {
        let detached = self.app.streams.detach();
        rt::spawn(self.run(first, detached));
    }

    async fn run(mut self, first: Option<Emission>, _detached: Detached) {
        let Ok(stream) = random_id() else {
            self.frames.finish();
            return;
        };
        let stream = stream.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut log = Log {
            name: format!("{}/stream/{stream}", self.session.name()),
            stream,
            ttl: self.app.live.load().limits.event_ttl,
            app: self.app.clone(),
        };
        let mut taken = self.app.state.bus().subscribe(&[&log.topic(TAKEN)]);
        let is_primed = self.session.sealed.revision == Revision::V2025_11_25;
        if is_primed && let Some(id) = log.keep(PRIMING, b"").await {
            self.frames.put(Emission::Framed(frames::priming(&id)));
        }
        let mut streaming = false;
        let mut next = first;
        loop {
            let step = match next.take() {
                Some(emission) => Step::Emitted(emission),
                None => tokio::select! {
                    step = self.driven.step() => step,
                    heard = self.cancelled.next() => {
                        if cancels(&heard, &self.request) {
                            log.keep(END, b"").await;
                            break;
                        }
                        continue;
                    }
                    heard = taken.next() => {
                        if matches!(heard, Heard::Event { .. }) {
                            self.frames.finish();
                        }
                        continue;
                    }
                },
            };
            match step {
                Step::Emitted(Emission::Chunk(piece)) => {
                    if !self.piece(&piece, &mut streaming).await {
                        let error = task_mcp_mcp::RpcError::internal(
                            "the connection broke while the result was sent, and so large a one is not kept; call again",
                        );
                        let answer =
                            format!(r#"{{"jsonrpc":"2.0","id":{},"error":{}}}"#, self.request, error.to_json());
                        log.keep(ANSWER, answer.as_bytes()).await;
                        break;
                    }
                }
                // Nothing may stand between the pieces of a result.
                Step::Emitted(_) if streaming => {}
                Step::Emitted(Emission::Message(message)) => self.tell(&mut log, MESSAGE, &message).await,
                Step::Emitted(Emission::Log(level, message)) => {
                    if self.levels.admit(&self.app, level).await {
                        self.tell(&mut log, MESSAGE, &message).await;
                    }
                }
                Step::Emitted(Emission::Release) => {
                    if is_primed {
                        self.frames.finish();
                    }
                }
                Step::Emitted(Emission::Framed(_)) => {}
                Step::Done(Answered { tail: Some(tail), .. }) if streaming => {
                    let last = [&tail, frames::END].concat();
                    let _ = self.frames.send(Emission::Framed(last.into())).await;
                    log.keep(END, b"").await;
                    break;
                }
                Step::Done(answered) => {
                    self.tell(&mut log, ANSWER, &answered.reply.body).await;
                    break;
                }
                Step::Ended => break,
            }
        }
        self.frames.finish();
    }

    async fn tell(&self, log: &mut Log, kind: u8, message: &[u8]) {
        let id = log.keep(kind, message).await;
        self.frames.put(Emission::Framed(frames::message(id.as_deref(), message)));
        if !self.frames.is_open() {
            log.say(MORE);
        }
    }

    /// Sends a piece of the result as soon as there is room; whether somebody reads.
    async fn piece(&self, piece: &[u8], streaming: &mut bool) -> bool {
        let text = pieces::escaped(piece);
        let bytes = match std::mem::replace(streaming, true) {
            true => text,
            false => [frames::BEGIN, &self.head, &text].concat().into(),
        };
        self.frames.send(Emission::Framed(bytes)).await.is_ok()
    }
}

/// What is kept of a stream.
struct Log {
    app: Data<App>,
    name: String,
    stream: String,
    ttl: Duration,
}

/// Topics of a stream: it has events that a connection of its own did not carry; another connection has taken it over.
const MORE: &str = "more";
const TAKEN: &str = "taken";

impl Log {
    /// Keeps an event; its id, if that could be done. Without, the stream goes on and cannot be fetched again.
    async fn keep(&self, kind: u8, message: &[u8]) -> Option<String> {
        let payload = [&[kind], message].concat();
        match self.app.state.events().append(&self.name, payload.into(), self.ttl).await {
            Ok(number) => Some(format!("{}.{number:x}", self.stream)),
            Err(error) => {
                tracing::debug!(error = %error, "An event of a stream is not kept.");
                None
            }
        }
    }

    fn topic(&self, word: &str) -> String {
        topic(&self.name, word)
    }

    fn say(&self, word: &str) {
        // Topics are far below the limits of the bus.
        let _ = self.app.state.bus().publish(&self.topic(word), "");
    }
}

fn topic(name: &str, word: &str) -> String {
    format!("{name}/{word}")
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

    #[test]
    fn a_request_is_cancelled_under_its_own_id_only() {
        let heard = |payload: &str| Heard::Event { topic: "session/x/cancelled".into(), payload: payload.into() };
        assert!(cancels(&heard("7"), "7") && cancels(&heard(r#""a""#), r#""\u0061""#));
        assert!(
            !cancels(&heard(r#""7""#), "7") && !cancels(&heard("nonsense"), "other") && !cancels(&Heard::Resync, "7")
        );
    }
}

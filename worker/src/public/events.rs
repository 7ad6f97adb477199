//! Answers that are sent while their call runs: server-sent events, or one JSON object whose text comes in pieces.
//!
//! The body drives the call: it is asked for bytes when the socket has room, so a client that reads slowly makes the call slow, and
//! one that leaves takes it along. A silent stream is kept alive by comments.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use task_mcp_scoreboard::Counter;
use task_mcp_telemetry::StreamKind;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::app::App;
use crate::exchange::{Answered, Cut, Driven, Emission, OpenEvents, OpenStream, Step, frames, pieces};
use crate::public::refusal::{REQUEST_ID, own_request_id};

/// Tells nginx not to hold events back.
pub(crate) const X_ACCEL_BUFFERING: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
/// Tells whatever lies between to keep and change nothing.
pub(crate) const NOT_KEPT: (HeaderName, HeaderValue) =
    (CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));

/// In which form a call tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events, each a message.
    Events,
    /// One JSON object, the answer.
    Object,
}

/// An answer that is sent while its call runs.
pub(crate) struct Telling {
    pub(crate) driven: Driven<Answered>,
    /// What it has told already.
    pub(crate) first: Option<Emission>,
    pub(crate) framing: Framing,
    /// The beginning of the result, should it come in pieces.
    pub(crate) head: Bytes,
    /// What the stream is counted as, unless that is done elsewhere.
    pub(crate) kind: Option<StreamKind>,
    pub(crate) heartbeat: Duration,
    /// Cuts the connection when the client takes its request back, where no stream of its own does that.
    pub(crate) cut: Option<Cut>,
}

impl Telling {
    /// The response.
    pub(crate) fn respond(self, request: &HttpRequest, app: &Data<App>) -> HttpResponse {
        let Self { driven, first, framing, head, kind, heartbeat, cut } = self;
        let mut response = HttpResponse::Ok();
        match framing {
            Framing::Events => {
                response.insert_header((CONTENT_TYPE, "text/event-stream")).insert_header(X_ACCEL_BUFFERING);
                response.insert_header(NOT_KEPT);
            }
            Framing::Object => _ = response.insert_header((CONTENT_TYPE, "application/json")),
        }
        if let Some(id) = own_request_id(request) {
            response.insert_header((REQUEST_ID, id.clone()));
        }
        let mut beats = interval_at(Instant::now() + heartbeat, heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        response.body(Body {
            driven: Some(driven),
            first,
            framing,
            head: Some(head),
            beats,
            messages: app.metrics.mcp.messages.clone(),
            _open: (framing == Framing::Events).then(|| OpenEvents::new(app)),
            _counted: kind.map(|kind| OpenStream::new(app, kind)),
            _cut: cut,
        })
    }
}

struct Body {
    /// `None` once all was told.
    driven: Option<Driven<Answered>>,
    first: Option<Emission>,
    framing: Framing,
    /// `None` once the result has begun.
    head: Option<Bytes>,
    beats: Interval,
    messages: Counter,
    _open: Option<OpenEvents>,
    _counted: Option<OpenStream>,
    _cut: Option<Cut>,
}

impl Body {
    /// The bytes of an emission; none of one that is left out.
    fn told(&mut self, emission: Emission) -> Option<Bytes> {
        match (emission, self.framing) {
            (Emission::Framed(bytes), _) => Some(bytes),
            (Emission::Chunk(piece), framing) => {
                let text = pieces::escaped(&piece);
                Some(match (self.head.take(), framing) {
                    (None, _) => text,
                    (Some(head), Framing::Events) => [frames::BEGIN, &head, &text].concat().into(),
                    (Some(head), Framing::Object) => [head, text].concat().into(),
                })
            }
            // Nothing may stand between the pieces of a result.
            (
                Emission::Message(message) | Emission::Log(_, message) | Emission::PieceMessage(message),
                Framing::Events,
            ) if self.head.is_some() => {
                self.messages.add(1);
                Some(frames::message(None, &message))
            }
            (Emission::Message(_) | Emission::Log(..) | Emission::PieceMessage(_) | Emission::Release, _) => None,
        }
    }

    /// The bytes of the answer.
    fn answer(&self, answered: Answered) -> Bytes {
        let end: &[u8] = if self.framing == Framing::Events { frames::END } else { b"" };
        match (answered.tail, self.framing) {
            (Some(tail), _) if self.head.is_none() => [&tail, end].concat().into(),
            (_, Framing::Events) => frames::message(None, &answered.reply.body),
            (_, Framing::Object) => answered.reply.body,
        }
    }
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let body = self.get_mut();
        loop {
            let step = match body.first.take() {
                Some(emission) => Step::Emitted(emission),
                None => {
                    let Some(driven) = &mut body.driven else { return Poll::Ready(None) };
                    match driven.poll_step(cx) {
                        Poll::Ready(step) => step,
                        Poll::Pending => break,
                    }
                }
            };
            let bytes = match step {
                Step::Emitted(emission) => body.told(emission),
                Step::Done(answered) => {
                    body.driven = None;
                    Some(body.answer(answered))
                }
                Step::Ended => {
                    body.driven = None;
                    return Poll::Ready(None);
                }
            };
            if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
                body.beats.reset();
                return Poll::Ready(Some(Ok(bytes)));
            }
        }
        // A comment within the answer would be a part of it.
        if body.beats.poll_tick(cx).is_ready() && body.framing == Framing::Events && body.head.is_some() {
            // The next beat wakes this.
            let _ = body.beats.poll_tick(cx);
            return Poll::Ready(Some(Ok(Bytes::from_static(frames::KEEP_ALIVE))));
        }
        Poll::Pending
    }
}

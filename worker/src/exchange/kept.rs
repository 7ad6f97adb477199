//! Streams of requests in a legacy session: their call goes on when the connection breaks, and what was said can be fetched again,
//! from any worker. Pieces of a large result are not kept: they go as fast as the client reads, and end with its connection.
//!
//! - `log`: what is kept; `replay`: how it is fetched
//!
//! Source: specification 2025-11-25, "Streamable HTTP", resumability and redelivery.

mod log;
mod replay;

use actix_web::rt;
use actix_web::web::{Bytes, Data};
use task_mcp_mcp::{LogLevel, Revision, RpcError};
use task_mcp_state::{Heard, Subscription};

use self::log::{ANSWER, END, Log, MESSAGE, MORE, PRIMING, TAKEN};
pub(crate) use self::replay::{EventId, replay};
use super::driven::{Driven, Step};
use super::frames;
use super::outlet::{Emission, Outlet};
use super::streams::{Detached, Holder};
use super::withdrawal::{Withdrawals, Withdrawn};
use super::{Answered, pieces};
use crate::app::App;
use crate::sessions::Session;

/// The stream of one request while its call runs.
pub(crate) struct Kept {
    pub(crate) app: Data<App>,
    pub(crate) session: Session,
    /// The id of the request, as JSON.
    pub(crate) request: String,
    pub(crate) driven: Driven<Answered>,
    /// The beginning of the result, should it come in pieces.
    pub(crate) head: Bytes,
    pub(crate) withdrawals: Withdrawals,
    /// What goes to the connection.
    pub(crate) frames: Outlet,
    pub(crate) levels: Levels,
    /// Whose call it is.
    pub(crate) holder: Holder,
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

/// Why a stream ends before its answer.
enum Early {
    /// The client took the request back.
    Cancelled,
    /// Its session has ended.
    SessionEnded,
    /// The connection is gone, and the call cannot go on without: what its client is told when it comes back.
    Gone(String),
}

impl From<Withdrawn> for Early {
    fn from(withdrawn: Withdrawn) -> Self {
        match withdrawn {
            Withdrawn::Request(_) => Self::Cancelled,
            Withdrawn::Session => Self::SessionEnded,
        }
    }
}

impl Kept {
    /// Runs the call to its end in a task of its own; `first` is what it has told already.
    pub(crate) fn start(self, first: Option<Emission>) {
        let detached = self.app.streams.detach();
        rt::spawn(self.run(first, detached));
    }

    async fn run(mut self, first: Option<Emission>, _detached: Detached) {
        if let Some(mut log) = Log::new(&self.app, &self.session) {
            match self.tell_all(&mut log, first).await {
                Ok(()) | Err(Early::SessionEnded) => {}
                Err(Early::Cancelled) => _ = log.keep(END, b"").await,
                Err(Early::Gone(why)) => {
                    let error = RpcError::internal(why);
                    let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"error":{}}}"#, self.request, error.to_json());
                    log.keep(ANSWER, answer.as_bytes()).await;
                    log.say(MORE);
                }
            }
        }
        self.frames.finish();
    }

    async fn tell_all(&mut self, log: &mut Log, mut first: Option<Emission>) -> Result<(), Early> {
        let mut taken = self.app.state.bus().subscribe(&[&log.topic(TAKEN)]);
        let is_primed = self.session.sealed.revision == Revision::V2025_11_25;
        if is_primed && let Some(id) = log.keep(PRIMING, b"").await {
            self.frames.put(Emission::Framed(frames::priming(&id)));
        }
        let mut streaming = false;
        // One of the places of calls without a connection, once it is one.
        let mut place = None;
        loop {
            let step = match first.take() {
                Some(emission) => Step::Emitted(emission),
                None => tokio::select! {
                    step = self.driven.step() => step,
                    withdrawn = self.withdrawals.of(&self.request) => return Err(withdrawn.into()),
                    () = told(&mut taken) => {
                        self.frames.finish();
                        continue;
                    }
                    () = self.frames.left(), if place.is_none() => {
                        let limit = self.app.live.load().limits.streams_per_principal;
                        place = self.app.streams.keep_running(&self.holder, limit);
                        if place.is_none() {
                            return Err(Early::Gone(format!(
                                "the connection broke, and {limit} calls of this principal go on without one in this worker \
                                 already (limits.streams_per_principal); call again"
                            )));
                        }
                        continue;
                    }
                },
            };
            match step {
                Step::Emitted(Emission::Chunk(piece)) => {
                    let text = pieces::escaped(&piece);
                    let bytes = match std::mem::replace(&mut streaming, true) {
                        true => text,
                        false => [frames::BEGIN, &self.head, &text].concat().into(),
                    };
                    self.piece(bytes, &mut taken).await?;
                }
                // Nothing may stand between the pieces of a result.
                Step::Emitted(_) if streaming => {}
                Step::Emitted(Emission::PieceMessage(message)) => {
                    self.piece(frames::message(None, &message), &mut taken).await?;
                }
                Step::Emitted(Emission::Message(message)) => self.tell(log, &message).await,
                Step::Emitted(Emission::Log(level, message)) => {
                    if self.levels.admit(&self.app, level).await {
                        self.tell(log, &message).await;
                    }
                }
                Step::Emitted(Emission::Release) => {
                    if is_primed {
                        self.frames.finish();
                    }
                }
                Step::Emitted(Emission::Framed(_)) => {}
                Step::Done(Answered { tail: Some(tail), .. }) if streaming => {
                    self.send([&tail, frames::END].concat().into(), &mut taken).await?;
                    log.keep(END, b"").await;
                    return Ok(());
                }
                // All messages of a batch were taken back.
                Step::Done(answered) if answered.reply.body.is_empty() => return Err(Early::Cancelled),
                Step::Done(answered) => {
                    let id = log.keep(ANSWER, &answered.reply.body).await;
                    let frame = frames::message(id.as_deref(), &answered.reply.body);
                    if !self.send(frame, &mut taken).await? {
                        log.say(MORE);
                    }
                    return Ok(());
                }
                Step::Ended => return Ok(()),
            }
        }
    }

    /// Tells a message and keeps it. A client that lets too much wait is cut; the call goes on.
    async fn tell(&self, log: &mut Log, message: &[u8]) {
        let id = log.keep(MESSAGE, message).await;
        self.frames.put(Emission::Framed(frames::message(id.as_deref(), message)));
        if !self.frames.is_open() {
            log.say(MORE);
        }
    }

    /// Sends a piece of the result.
    async fn piece(&mut self, bytes: Bytes, taken: &mut Subscription) -> Result<(), Early> {
        match self.send(bytes, taken).await? {
            true => Ok(()),
            false => Err(Early::Gone(
                "the connection broke while the result was sent, and so large a one is not kept; call again".to_owned(),
            )),
        }
    }

    /// Sends something as soon as there is room; whether somebody is there to read it.
    async fn send(&mut self, bytes: Bytes, taken: &mut Subscription) -> Result<bool, Early> {
        tokio::select! {
            biased;
            sent = self.frames.send(Emission::Framed(bytes)) => Ok(sent.is_ok()),
            withdrawn = self.withdrawals.of(&self.request) => Err(withdrawn.into()),
            () = told(taken) => {
                self.frames.finish();
                Ok(false)
            }
        }
    }
}

/// Returns when somebody has said something.
async fn told(subscription: &mut Subscription) {
    while subscription.next().await == Heard::Resync {}
}

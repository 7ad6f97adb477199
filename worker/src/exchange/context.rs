//! A call's side of its client.

use std::sync::Arc;

use actix_web::web::Bytes;
use serde_json::{Value, json};
use task_mcp_mcp::{
    Answers, CallContext, Change, ClientCapabilities, ContextFuture, LogLevel, NoChunks, Questions, Request, Unanswered,
};
use task_mcp_state::Bus;

use super::asking::SessionAsking;
use super::client::Client;
use super::outlet::{Emission, Outlet};
use super::pieces::{Pieces, Told};
use super::rounds::Rounds;

/// Topic of what changed for all clients; the payload is a change as JSON.
pub(crate) const CHANGED: &str = "changed";

/// How a call asks its client.
pub(crate) enum Asking {
    /// It cannot.
    Never,
    /// The request ends, and the client answers with the next one.
    Rounds(Rounds),
    /// On a legacy client's stream.
    Session(SessionAsking),
}

/// A call's side of its client, over any transport.
pub(crate) struct Context {
    capabilities: ClientCapabilities,
    /// JSON.
    progress_token: Option<String>,
    log_level: Option<LogLevel>,
    /// Whether the client's session knows what it wants to hear.
    in_session: bool,
    outlet: Outlet,
    pieces: Pieces,
    asking: Asking,
    bus: Bus,
}

impl Context {
    pub(crate) fn new(request: &Request<'_>, client: &Client, outlet: &Outlet, asking: Asking, bus: &Bus) -> Arc<Self> {
        Arc::new(Self {
            capabilities: client.capabilities,
            progress_token: request.progress_token.map(str::to_owned),
            log_level: client.log_level,
            in_session: client.session.is_some(),
            outlet: outlet.clone(),
            pieces: Pieces::default(),
            asking,
            bus: bus.clone(),
        })
    }

    /// What it has asked, if requests of its client end with questions.
    pub(crate) fn rounds(&self) -> Option<&Rounds> {
        match &self.asking {
            Asking::Rounds(rounds) => Some(rounds),
            _ => None,
        }
    }

    /// What was told of the result in pieces.
    pub(crate) fn told(&self) -> Told {
        self.pieces.told()
    }
}

impl CallContext for Context {
    fn capabilities(&self) -> ClientCapabilities {
        match self.asking {
            Asking::Never => ClientCapabilities::NONE,
            _ => self.capabilities,
        }
    }

    fn progress(&self, done: f64, total: Option<f64>, message: Option<&str>) {
        let Some(token) = &self.progress_token else { return };
        // The numbers grow, and those of pieces are others than the tool's.
        if !self.outlet.is_open() || self.pieces.have_begun() {
            return;
        }
        let mut params = format!("{{\"progressToken\":{token},\"progress\":{done}");
        if let Some(total) = total {
            params.push_str(&format!(",\"total\":{total}"));
        }
        if let Some(message) = message {
            params.push_str(&format!(",\"message\":{}", Value::from(message)));
        }
        self.outlet.push(notification("notifications/progress", &format!("{params}}}")));
    }

    fn log(&self, level: LogLevel, logger: Option<&str>, data: &Value) {
        if self.log_level.is_none_or(|least| level < least) || !self.outlet.is_open() {
            return;
        }
        let mut params = json!({ "level": level.word(), "data": data });
        if let (Some(logger), Some(fields)) = (logger, params.as_object_mut()) {
            fields.insert("logger".into(), logger.into());
        }
        let message = notification("notifications/message", &params.to_string());
        self.outlet.put(match self.in_session {
            true => Emission::Log(level, message),
            false => Emission::Message(message),
        });
    }

    fn ask<'a>(&'a self, about: &'a str, questions: &'a Questions) -> ContextFuture<'a, Result<Answers, Unanswered>> {
        Box::pin(async move {
            let capabilities = self.capabilities();
            if let Some(missing) = questions.beyond(capabilities) {
                return Err(Unanswered::Unsupported(missing));
            }
            match &self.asking {
                Asking::Never => Err(Unanswered::Gone),
                Asking::Rounds(rounds) => rounds.ask(about, questions).await,
                Asking::Session(asking) => asking.ask(questions, &self.outlet).await,
            }
        })
    }

    fn undone(&self) -> ContextFuture<'_, ()> {
        Box::pin(async {
            if let Asking::Rounds(rounds) = &self.asking {
                rounds.give_back().await;
            }
        })
    }

    fn chunk<'a>(&'a self, text: &'a str) -> ContextFuture<'a, Result<(), NoChunks>> {
        Box::pin(async move {
            if !self.outlet.takes_pieces() {
                return Err(NoChunks::Unsupported);
            }
            let as_progress = self.progress_token.as_deref().filter(|_| self.outlet.is_open());
            let emission = match as_progress {
                Some(token) => {
                    let bytes = self.pieces.hold(text, self.outlet.result_bytes());
                    let message = Value::from(text);
                    let params = format!("{{\"progressToken\":{token},\"progress\":{bytes},\"message\":{message}}}");
                    Emission::PieceMessage(notification("notifications/progress", &params))
                }
                None => {
                    self.pieces.stream();
                    Emission::Chunk(Bytes::copy_from_slice(text.as_bytes()))
                }
            };
            self.outlet.send(emission).await.map_err(|_| NoChunks::Gone)
        })
    }

    fn notify(&self, change: &Change) {
        publish(&self.bus, change);
    }

    fn cancelled(&self) -> ContextFuture<'_, ()> {
        Box::pin(self.outlet.left())
    }

    fn release_stream(&self) {
        self.outlet.put(Emission::Release);
    }
}

/// Tells all clients that wish to know of a change.
pub(crate) fn publish(bus: &Bus, change: &Change) {
    let payload = match change {
        Change::Tools => "tools".to_owned(),
        Change::Prompts => "prompts".to_owned(),
        Change::Resources => "resources".to_owned(),
        Change::Resource(uri) => format!("resource {uri}"),
    };
    // A URI over the bus's limit is one nobody could subscribe to.
    let _ = bus.publish(CHANGED, &payload);
}

/// A notification as bytes; `params` is a JSON object.
pub(crate) fn notification(method: &str, params: &str) -> Bytes {
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{params}}}").into()
}

//! One message of a client.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use actix_web::rt;
use actix_web::web::{Bytes, Data};
use serde_json::value::RawValue;
use task_mcp_mcp::{
    Era, Handshake, IDEMPOTENCY_KEY, Method, Notification, Reply, Request, Response, Revision, Route, RpcError,
    exceeds_depth,
};
use task_mcp_tools::{IdempotencyKey, Principal};
use tokio::sync::watch;

use super::lines::Line;
use super::output::Output;
use super::place::PlacedMailbox;
use super::under_way::{self, UNDER_WAY_MAX, UnderWay};
use crate::app::App;
use crate::exchange::kept::Levels;
use crate::exchange::{Answered, Client, Emission, Outlet, OwnMailbox, Terms, letter, notification, pieces, serve};
use crate::public::batch::Answers;
use crate::sessions::Session;

/// The one client of this process.
pub(super) struct Connection {
    pub(super) app: Data<App>,
    pub(super) principal: Principal,
    /// What a legacy client began with `initialize`; a later one takes its place.
    pub(super) session: watch::Sender<Option<Session>>,
    pub(super) output: Output,
    pub(super) under_way: UnderWay,
    /// Where its answers to questions arrive.
    pub(super) mailbox: Arc<OwnMailbox>,
}

/// Does what a line asks for. It returns as soon as the next line may be looked at.
pub(super) async fn take(connection: &Rc<Connection>, line: Line) {
    let limits = connection.app.live.load().limits;
    let line = match line {
        Line::Message(line) if exceeds_depth(&line, limits.json_depth) => {
            let text = format!("the line nests deeper than {} levels (limits.json_depth)", limits.json_depth);
            let error = RpcError::new(task_mcp_mcp::code::PARSE_ERROR, text);
            return connection.tell(&Reply::error(None, &error)).await;
        }
        Line::Message(line) => line,
        Line::TooLong => {
            let text = format!("the line is longer than {} bytes (limits.body_bytes)", limits.body_bytes);
            return connection.tell(&Reply::error(None, &RpcError::invalid_request(text))).await;
        }
    };
    let id = match connection.app.engine.route_line(&line) {
        Route::Reply(reply) => return connection.tell(&reply).await,
        Route::Notification(note) => return connection.heed(&note),
        Route::Response(response) => {
            if let Some(refusal) = connection.answered(&response) {
                connection.tell(&refusal).await;
            }
            return;
        }
        // What comes after a handshake may rely on it.
        Route::Request(asked) if matches!(asked.method, Method::Initialize(_)) => {
            let reply = connection.begin(&asked);
            return connection.tell(&reply).await;
        }
        Route::Request(asked) => Some(asked.id.as_json().to_owned()),
        Route::Batch(_) if connection.revision() == Some(Revision::V2025_03_26) => None,
        Route::Batch(_) => return connection.tell(&Route::unexpected_batch()).await,
    };
    start(connection, line, id.as_deref()).await;
}

/// Serves a request of that id, or a batch, in a task of its own, if there is room for one more. The line is read again there, for what was
/// read of it here borrows from it.
async fn start(connection: &Rc<Connection>, line: Vec<u8>, id: Option<&str>) {
    let Some(request) = connection.under_way.begin(id) else {
        let text = format!("{UNDER_WAY_MAX} requests are under way already; wait for the answer to one of them");
        let error = RpcError::new(task_mcp_mcp::code::LIMITED, text);
        let reply = match id.and_then(|id| serde_json::from_str::<&RawValue>(id).ok()) {
            Some(id) => Reply::error(Some(task_mcp_mcp::RequestId::of(id)), &error),
            None => Reply::error(None, &error),
        };
        return connection.tell(&reply).await;
    };
    let number = request.number();
    let here = Rc::clone(connection);
    let task = rt::spawn(async move {
        let _request = request;
        match here.app.engine.route_line(&line) {
            Route::Request(asked) => {
                let reply = here.served(&asked).await;
                here.output.send(reply).await;
                if matches!(asked.method, Method::Listen(_)) {
                    // As this transport tells that a stream is over (specification 2026-07-28, `CancelledNotification`).
                    let params = format!("{{\"requestId\":{}}}", asked.id.as_json());
                    here.output.send(notification("notifications/cancelled", &params)).await;
                }
            }
            Route::Batch(messages) => here.batch(&messages).await,
            _ => {}
        }
    });
    under_way::Request::task(&connection.under_way, number, task.abort_handle());
}

impl Connection {
    async fn tell(&self, reply: &Reply) {
        self.output.send(reply.body.clone()).await;
    }

    fn revision(&self) -> Option<Revision> {
        self.session.borrow().as_ref().map(|session| session.sealed.revision)
    }

    /// A legacy client begins. Its session lies in the memory of this process, and ends with it.
    fn begin(&self, asked: &Request<'_>) -> Reply {
        let Method::Initialize(Handshake { revision, capabilities, client_name, client_version }) = &asked.method
        else {
            return Reply::refusal(asked, RpcError::internal("no handshake"));
        };
        match self.app.sessions.begin(&self.principal, *revision, *capabilities, (client_name, client_version)) {
            Ok((_, session)) => {
                self.app.metrics.mcp.sessions_begun.add(1);
                self.session.send_replace(Some(session));
            }
            Err(error) => {
                tracing::error!(error = %error, "A session cannot be made.");
                return Reply::refusal(asked, RpcError::internal("no session can be made; try again"));
            }
        }
        self.app
            .engine
            .told(asked)
            .unwrap_or_else(|| Reply::refusal(asked, RpcError::internal("the answer is missing")))
    }

    fn heed(&self, note: &Notification<'_>) {
        if let Notification::Cancelled(id) = note {
            self.under_way.cancel(id);
        }
    }

    /// Takes a client's answer to a question; what is wrong, if it is not taken.
    fn answered(&self, response: &Response<'_>) -> Option<Reply> {
        if self.mailbox.put(&response.id, letter(response)) {
            return None;
        }
        let text = "the field `id` names no question of this server that waits for an answer";
        Some(Reply::error(None, &RpcError::invalid_request(text)))
    }

    /// Serves a request and tells what it has to tell before its answer, which is returned.
    async fn served(&self, asked: &Request<'_>) -> Bytes {
        let place = match asked.method {
            // Nothing runs there: neither in a stream of subscriptions, nor to say that the process lives.
            Method::Listen(_) | Method::Ping => None,
            _ => Some(self.under_way.place().await),
        };
        let idempotency = match asked.idempotency_key.as_deref().map(IdempotencyKey::parse).transpose() {
            Ok(key) => key,
            Err(error) => {
                let text = format!("the field params._meta[\"{IDEMPOTENCY_KEY}\"]: {error}");
                return Reply::refusal(asked, RpcError::invalid_params(text)).body;
            }
        };
        let mut client = Client::of_request(self.principal.clone(), asked);
        let session = self.session.borrow().clone().filter(|_| asked.era == Era::Legacy);
        let mut levels = session.clone().map(Levels::new);
        if let Some(session) = session {
            client = client.in_session(session);
        }
        client.idempotency = idempotency;
        client.mailbox = Some(match &place {
            Some(place) => Arc::new(PlacedMailbox::new(&self.mailbox, place)),
            // What needs no place asks nothing.
            None => Arc::clone(&self.mailbox) as _,
        });

        let limits = self.app.live.load().limits;
        let (outlet, mut emissions) = Outlet::open(Terms {
            waiting_bytes: limits.stream_buffer_bytes,
            messages: true,
            result_bytes: limits.response_bytes,
            connection: None,
            cut: Some(self.app.metrics.mcp.streams_cut.clone()),
        });
        let mut call = pin!(serve(&self.app, asked, &client, &outlet));
        let mut answer = None;
        // Who lets too much wait is told of nothing more; for a stream of subscriptions that is the end.
        let mut is_cut = false;
        // A line is whole or it is none, so what comes in pieces is gathered here.
        let mut gathered: Option<Vec<u8>> = None;
        loop {
            let told = poll_fn(|cx| {
                if answer.is_none()
                    && let Poll::Ready(answered) = call.as_mut().poll(cx)
                {
                    answer = Some(answered);
                }
                match emissions.poll_next(cx) {
                    // What is told on the way comes before the answer.
                    Poll::Ready(Some(emission)) => Poll::Ready(Some(emission)),
                    told => {
                        is_cut = told.is_ready() && matches!(asked.method, Method::Listen(_));
                        if answer.is_some() || is_cut { Poll::Ready(None) } else { Poll::Pending }
                    }
                }
            });
            match told.await {
                Some(Emission::Message(message) | Emission::PieceMessage(message)) => self.output.send(message).await,
                Some(Emission::Log(level, message)) => {
                    if let Some(levels) = &mut levels
                        && levels.admit(&self.app, level).await
                    {
                        self.output.send(message).await;
                    }
                }
                Some(Emission::Chunk(piece)) => {
                    let whole = gathered.get_or_insert_with(|| pieces::head(&self.app.engine, asked).to_vec());
                    whole.extend_from_slice(&pieces::escaped(&piece));
                    if whole.len() > limits.response_bytes {
                        return self.too_large(asked, limits.response_bytes);
                    }
                }
                Some(Emission::Framed(_) | Emission::Release) => {}
                None => break,
            }
        }
        match answer {
            Some(Answered { tail: Some(tail), .. }) => {
                let mut whole = gathered.unwrap_or_default();
                whole.extend_from_slice(&tail);
                whole.into()
            }
            Some(answered) => answered.reply.body,
            None => Reply::closing(&self.app.engine, asked).body,
        }
    }

    fn too_large(&self, asked: &Request<'_>, limit: usize) -> Bytes {
        let text = format!(
            "the result has more than {limit} bytes (limits.response_bytes); a request with a progressToken gets it in pieces"
        );
        Reply::refusal(asked, RpcError::internal(text)).body
    }

    /// Serves the messages of a batch one after the other, and answers them in one list.
    async fn batch(&self, messages: &[&RawValue]) {
        let mut answers = Answers::new(self.app.live.load().limits.response_bytes);
        for message in messages {
            match self.app.engine.route_of_batch(message, None) {
                Route::Request(asked) if !answers.admit(asked.id) => {}
                Route::Request(asked) => answers.push(self.served(&asked).await),
                Route::Reply(reply) => answers.push(reply.body),
                Route::Notification(note) => self.heed(&note),
                Route::Response(response) => {
                    if let Some(refusal) = self.answered(&response) {
                        answers.push(refusal.body);
                    }
                }
                Route::Batch(_) => {}
            }
        }
        if let Some(list) = answers.into_list() {
            self.output.send(list).await;
        }
    }
}

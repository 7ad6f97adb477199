//! `POST /mcp`: JSON-RPC, or the seed's dialect when the body is one of it.
//!
//! An answer is one JSON object if it is there before anything else is to be told. Else, if its client takes events, it becomes a
//! stream: as soon as the call tells something, or after one heartbeat, so that whatever lies between sees that it lives.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use actix_web::http::StatusCode;
use actix_web::http::Version;
use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::value::RawValue;
use task_mcp_mcp::{
    Era, Method, Notification, PARAM_PREFIX, Reply, Request, RequestHeaders, Revision, Route, RpcError, code,
};
use task_mcp_telemetry::StreamKind;
use task_mcp_tools::Principal;
use tokio::time::sleep;

use crate::app::App;
use crate::connections::entry::Entry;
use crate::connections::serve::client_address;
use crate::exchange::kept::{Kept, Levels};
use crate::exchange::{
    Answered, Client, Driven, Emission, Holder, Outlet, Step, Terms, Withdrawals, Withdrawn, cancel, pieces,
    serve as serve_request, take_answer,
};
use crate::live::Live;
use crate::public::batch::Answers;
use crate::public::body::{drain_small, read_json};
use crate::public::events::{Framing, Telling};
use crate::public::once::{self, REPLAYED, idempotency_key};
use crate::public::rate::{Admitted, admit, tell};
use crate::public::refusal::{Form, REQUEST_ID, Refusal, own_request_id, single};
use crate::public::seed;
use crate::public::session::{SESSION_ID, begin, is_modern, session_of};
use crate::sessions::{Session, SessionRefusal};

pub(crate) const PROTOCOL_VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// Serves one message.
pub(crate) async fn post(request: HttpRequest, mut payload: Payload, app: Data<App>) -> HttpResponse {
    let live = app.live.load_full();
    match admit(&request, &app, &live).await {
        Ok(Admitted { principal, standing }) => {
            tell(standing, serve(&request, &mut payload, app, &live, principal).await)
        }
        Err(refusal) => {
            drain_small(&request, &mut payload).await;
            refusal.respond(&request, form_of(request.headers()))
        }
    }
}

async fn serve(
    request: &HttpRequest,
    payload: &mut Payload,
    app: Data<App>,
    live: &Live,
    principal: Principal,
) -> HttpResponse {
    let form = form_of(request.headers());
    let body = match read_json(request, payload, &app, &live.limits).await {
        Ok(body) => body,
        Err(refusal) => return refusal.respond(request, form),
    };
    let headers = match protocol_headers(request) {
        Ok(headers) => headers,
        Err(refusal) => return refusal.respond(request, form),
    };
    // A client of MCP says so in its headers; a body without them may be of the other dialect.
    if headers.protocol_version.is_none() && (form == Form::Plain || seed::is_seed(&body)) {
        return seed::respond_ndjson(request, app, principal, &body, live);
    }
    let session = match is_modern(headers.protocol_version) {
        true => None,
        false => match session_of(request, &app, &principal).await {
            Ok(session) => session,
            Err(response) => return response,
        },
    };
    let events = accepts_events(request);
    let (outlet, emissions) = match request.version() > Version::HTTP_10 {
        true => {
            let (outlet, emissions) = Outlet::open(Terms {
                waiting_bytes: live.limits.stream_buffer_bytes,
                messages: events,
                result_bytes: live.limits.response_bytes,
                connection: request.conn_data::<Arc<Entry>>().cloned(),
                cut: Some(app.metrics.mcp.streams_cut.clone()),
            });
            (outlet, Some(emissions))
        }
        // A stream has no length, and HTTP/1.0 has no chunks (RFC 9112, section 6.1).
        false => (Outlet::closed(), None),
    };
    let address = client_address_of(request, live);
    let holder = Holder::new(&principal, address);
    let call = Message {
        app: app.clone(),
        request: request.clone(),
        address,
        principal,
        session: session.clone(),
        outlet,
        body: body.clone(),
    };
    let Some(emissions) = emissions else { return respond_served(request, call.run().await) };
    let mut driven = Driven::new(Box::pin(call.run()), emissions);
    // Mostly the answer is there at once.
    let first = match std::future::poll_fn(|cx| Poll::Ready(driven.poll_step(cx))).await {
        Poll::Ready(Step::Done(served)) => return respond_served(request, served),
        Poll::Ready(Step::Emitted(emission)) => Some(emission),
        Poll::Ready(Step::Ended) | Poll::Pending => None,
    };
    let waiting = Waiting { request, app: &app, live, body: &body, session, holder, events };
    Box::pin(waiting.wait(driven, first)).await
}

/// A message with all that is needed to serve it.
struct Message {
    app: Data<App>,
    request: HttpRequest,
    address: Option<IpAddr>,
    principal: Principal,
    session: Option<Session>,
    outlet: Outlet,
    body: Bytes,
}

/// What came of a message.
enum Served {
    Answer(Answered),
    /// The answer, and the session that began.
    Begun(Reply, HeaderValue),
    /// There is nothing to answer.
    Accepted,
    Refused(Refusal),
}

impl From<Reply> for Served {
    fn from(reply: Reply) -> Self {
        Self::Answer(reply.into())
    }
}

impl Served {
    /// The answer on a stream, which has sent its headers.
    fn into_answer(self) -> Answered {
        match self {
            Self::Answer(answered) => answered,
            Self::Begun(reply, _) => reply.into(),
            // Every message of a batch was taken back: there is nothing to tell.
            Self::Accepted => Reply { status: 202, error_code: None, body: Bytes::new() }.into(),
            Self::Refused(_) => Reply::error(None, &RpcError::internal("the message has no answer")).into(),
        }
    }
}

impl Message {
    async fn run(self) -> Served {
        let headers = match protocol_headers(&self.request) {
            Ok(headers) => headers,
            Err(refusal) => return Served::Refused(refusal),
        };
        match self.app.engine.route(&self.body, &headers) {
            Route::Reply(reply) => reply.into(),
            Route::Notification(Notification::Cancelled(id)) => {
                if let Some(session) = &self.session {
                    cancel(&self.app, session, id);
                }
                Served::Accepted
            }
            Route::Notification(Notification::Other) => Served::Accepted,
            Route::Response(response) => match &self.session {
                Some(session) => match take_answer(&self.app, session, &response).await {
                    Ok(()) => Served::Accepted,
                    Err(reply) => reply.into(),
                },
                None => {
                    let text = "the field `id` names no question of this server: send the header Mcp-Session-Id of the session \
                                that was asked";
                    Reply::error(None, &RpcError::invalid_request(text)).into()
                }
            },
            Route::Request(asked) => self.answer(&asked, &self.outlet).await,
            Route::Batch(messages) => self.batch(&headers, &messages).await,
        }
    }

    async fn answer(&self, asked: &Request<'_>, outlet: &Outlet) -> Served {
        let idempotency = match idempotency_key(&self.request, asked.idempotency_key.as_deref()) {
            Ok(key) => key,
            Err(refusal) => return Served::Refused(refusal),
        };
        let mut client = Client::of_request(self.principal.clone(), asked);
        if asked.era == Era::Legacy
            && let Some(session) = &self.session
        {
            client = client.in_session(session.clone());
        }
        client.idempotency = idempotency;
        client.address = self.address;
        let answered = serve_request(&self.app, asked, &client, outlet).await;
        match &asked.method {
            Method::Initialize(handshake) => match begin(&self.app, &self.principal, handshake) {
                Ok(id) => Served::Begun(answered.reply, id),
                Err(error) => Reply::error(Some(asked.id), &error).into(),
            },
            _ => Served::Answer(answered),
        }
    }

    /// A batch: one list of the answers to those of its messages that are requests, in their order.
    async fn batch(&self, headers: &RequestHeaders<'_>, messages: &[&RawValue]) -> Served {
        let revision = self.session.as_ref().map(|session| session.sealed.revision);
        let named = headers.protocol_version.and_then(|version| Revision::parse(version.trim()));
        if revision.or(named) != Some(Revision::V2025_03_26) {
            return Route::unexpected_batch().into();
        }
        if self.request.headers().contains_key(once::HEADER) {
            return Served::Refused(once::not_of_a_batch());
        }
        let mut answers = Answers::new(self.app.live.load().limits.response_bytes);
        // A message that waits for its turn can be taken back like one that is served.
        let ids: Vec<&str> = messages.iter().map(|message| id_of(message.get().as_bytes())).collect();
        let mut withdrawals = self.session.as_ref().map(|session| Withdrawals::hear(&self.app, session));
        let mut cancelled = vec![false; messages.len()];
        for (at, message) in messages.iter().enumerate() {
            match self.app.engine.route_of_batch(message, Some(headers)) {
                Route::Request(asked) if !answers.admit(asked.id) => {}
                Route::Request(asked) => {
                    let outlet = Outlet::closed();
                    let answer = self.answer(&asked, &outlet);
                    let answer = unless_cancelled(answer, at, &ids, &mut withdrawals, &mut cancelled);
                    match answer.await {
                        Some(Served::Answer(Answered { reply, .. }) | Served::Begun(reply, _)) => {
                            answers.push(reply.body);
                        }
                        // The others have their answers all the same.
                        Some(Served::Refused(refusal)) => {
                            answers.push(Reply::error(Some(asked.id), &refusal.to_rpc()).body);
                        }
                        Some(Served::Accepted) | None => {}
                    }
                }
                Route::Reply(reply) => answers.push(reply.body),
                Route::Notification(Notification::Cancelled(id)) => {
                    if let Some(session) = &self.session {
                        cancel(&self.app, session, id);
                    }
                }
                Route::Response(response) => {
                    if let Some(session) = &self.session
                        && let Err(reply) = take_answer(&self.app, session, &response).await
                    {
                        answers.push(reply.body);
                    }
                }
                Route::Notification(Notification::Other) | Route::Batch(_) => {}
            }
        }
        match answers.into_list() {
            Some(body) => Reply { status: 200, error_code: None, body }.into(),
            None => Served::Accepted,
        }
    }
}

/// The answer to the message at that place of a batch, unless it is taken back; others that are, are marked.
async fn unless_cancelled(
    answer: impl Future<Output = Served>,
    at: usize,
    ids: &[&str],
    withdrawals: &mut Option<Withdrawals>,
    cancelled: &mut [bool],
) -> Option<Served> {
    let Some(withdrawals) = withdrawals else { return Some(answer.await) };
    let mut answer = pin!(answer);
    loop {
        if cancelled.get(at) == Some(&true) {
            return None;
        }
        tokio::select! {
            biased;
            withdrawn = withdrawals.next(ids) => match withdrawn {
                Withdrawn::Request(other) => cancelled.iter_mut().skip(other).take(1).for_each(|mark| *mark = true),
                // Whoever waits for the whole hears of it too.
                Withdrawn::Session => return None,
            },
            served = &mut answer => return Some(served),
        }
    }
}

/// The id of a message as JSON; empty, which is no id, where it has none.
fn id_of(message: &[u8]) -> &str {
    #[derive(serde::Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
    }
    let named = serde_json::from_slice::<Named<'_>>(message).ok();
    named.and_then(|named| named.id).map_or("", RawValue::get)
}

/// A request whose answer is not there at once.
struct Waiting<'a> {
    request: &'a HttpRequest,
    app: &'a Data<App>,
    live: &'a Live,
    body: &'a Bytes,
    session: Option<Session>,
    /// Whose streams the client's are.
    holder: Holder,
    /// Whether the client takes events.
    events: bool,
}

/// What a stream has to know of the request it answers.
#[derive(Default)]
struct Facts {
    id: String,
    /// The beginning of its result, should that come in pieces.
    head: Bytes,
    is_listen: bool,
}

impl Waiting<'_> {
    async fn wait(self, mut driven: Driven<Served>, mut first: Option<Emission>) -> HttpResponse {
        let id = self.session.as_ref().map_or("", |_| id_of(self.body));
        let mut withdrawals = self.session.as_ref().map(|session| Withdrawals::hear(self.app, session));
        let mut may_become_stream = self.events;
        let mut levels = self.session.clone().map(Levels::new);
        let mut heartbeat = pin!(sleep(self.live.limits.heartbeat));
        loop {
            if let Some(emission) = first.take() {
                let is_told = match (&emission, &mut levels) {
                    (Emission::Log(level, _), Some(levels)) => levels.admit(self.app, *level).await,
                    (Emission::Release, levels) => levels.is_some() && self.events,
                    _ => true,
                };
                if is_told {
                    let facts = self.facts().unwrap_or_default();
                    return self.tell(driven, Some(emission), facts, withdrawals);
                }
            }
            let withdrawn = async {
                match &mut withdrawals {
                    Some(withdrawals) => withdrawals.of(id).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                step = driven.step() => match step {
                    Step::Emitted(emission) => first = Some(emission),
                    Step::Done(served) => return respond_served(self.request, served),
                    Step::Ended => {
                        let error = RpcError::internal("the call has ended without an answer");
                        return respond(self.request, Reply::error(None, &error));
                    }
                },
                () = &mut heartbeat, if may_become_stream => match self.facts() {
                    Some(facts) => return self.tell(driven, None, facts, withdrawals),
                    // A client's answer, or a batch: it has a status or a list of its own, which are waited for.
                    None => may_become_stream = false,
                },
                // Who cancels a request gets no answer to it (specification 2025-11-25, "Cancellation").
                withdrawn = withdrawn => return match withdrawn {
                    Withdrawn::Request(_) => HttpResponse::Accepted().finish(),
                    Withdrawn::Session => {
                        respond(self.request, Reply::error(None, &SessionRefusal::Ended.to_rpc_error()))
                    }
                },
            }
        }
    }

    /// Answers with what the call tells from now on.
    fn tell(
        self,
        driven: Driven<Served>,
        first: Option<Emission>,
        facts: Facts,
        withdrawals: Option<Withdrawals>,
    ) -> HttpResponse {
        let Facts { id, head, is_listen } = facts;
        let driven = driven.map(Served::into_answer);
        let heartbeat = self.live.limits.heartbeat;
        let kind = (!is_listen).then_some(StreamKind::Request);
        let as_object = !self.events || matches!(first, Some(Emission::Chunk(_)));
        let connection = self.request.conn_data::<Arc<Entry>>().cloned();
        let telling = match (self.session, withdrawals) {
            (Some(session), Some(withdrawals)) if !as_object => {
                let (frames, emissions) = Outlet::open(Terms {
                    waiting_bytes: self.live.limits.stream_buffer_bytes,
                    messages: true,
                    result_bytes: 0,
                    connection,
                    cut: Some(self.app.metrics.mcp.streams_cut.clone()),
                });
                let levels = Levels::new(session.clone());
                let kept = Kept {
                    app: self.app.clone(),
                    session,
                    request: id,
                    driven,
                    head: head.clone(),
                    withdrawals,
                    frames,
                    levels,
                    holder: self.holder,
                };
                kept.start(first);
                let (driven, framing) = (Driven::filled(emissions), Framing::Events);
                Telling { driven, first: None, framing, head, kind, heartbeat, cut: None }
            }
            (_, withdrawals) => {
                let framing = if as_object { Framing::Object } else { Framing::Events };
                let cut = withdrawals.zip(connection).map(|(withdrawals, connection)| withdrawals.cut(id, connection));
                Telling { driven, first, framing, head, kind, heartbeat, cut }
            }
        };
        telling.respond(self.request, self.app)
    }

    /// What the stream has to know; `None` if the message is no request. It is read again: only the few that become streams pay for
    /// it.
    fn facts(&self) -> Option<Facts> {
        if let Ok(headers) = protocol_headers(self.request)
            && let Route::Request(asked) = self.app.engine.route(self.body, &headers)
        {
            let id = asked.id.as_json().to_owned();
            let is_listen = matches!(asked.method, Method::Listen(_));
            return Some(Facts { id, head: pieces::head(&self.app.engine, &asked), is_listen });
        }
        None
    }
}

fn respond_served(request: &HttpRequest, served: Served) -> HttpResponse {
    match served {
        Served::Answer(Answered { reply, replayed, .. }) => {
            let mut response = respond(request, reply);
            if replayed {
                let (name, value) = REPLAYED;
                response.headers_mut().insert(name, value);
            }
            response
        }
        Served::Begun(reply, id) => {
            let mut response = respond(request, reply);
            response.headers_mut().insert(SESSION_ID, id);
            response
        }
        Served::Accepted => HttpResponse::Accepted().finish(),
        Served::Refused(refusal) => refusal.respond(request, form_of(request.headers())),
    }
}

pub(crate) fn respond(request: &HttpRequest, reply: Reply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.insert_header((CONTENT_TYPE, "application/json"));
    if let Some(id) = own_request_id(request) {
        response.insert_header((REQUEST_ID, id.clone()));
    }
    response.body(reply.body)
}

/// Before the body is read, `Accept` tells which dialect a client hopes for.
fn form_of(headers: &HeaderMap) -> Form {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("application/x-ndjson") && !accept.contains("application/json") {
        Form::Plain
    } else {
        Form::JsonRpc
    }
}

/// Whether a client takes a stream of events: it has to name them, as the specification wants it, for whoever accepts just anything
/// mostly expects one object.
pub(crate) fn accepts_events(request: &HttpRequest) -> bool {
    request.headers().get_all(ACCEPT).filter_map(|accept| accept.to_str().ok()).any(names_events)
}

fn names_events(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"));
        named && !parts.any(|part| part.eq_ignore_ascii_case("q=0") || part.eq_ignore_ascii_case("q=0.0"))
    })
}

/// Where everybody is anonymous, addresses are what can be told apart.
pub(crate) fn client_address_of(request: &HttpRequest, live: &Live) -> Option<IpAddr> {
    request.peer_addr().filter(|_| !live.access.needs_token()).map(client_address)
}

/// The headers that repeat arguments of a tool.
fn params_of(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    let params = headers.iter().filter(|(name, _)| name.as_str().starts_with(PARAM_PREFIX));
    params.map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

fn protocol_headers(request: &HttpRequest) -> Result<RequestHeaders<'_>, Refusal> {
    let text = |name| Ok(single(request, name)?.map(|value| value.to_str().unwrap_or_default()));
    let mismatch = |refusal: Refusal| refusal.with_rpc_code(code::HEADER_MISMATCH);
    Ok(RequestHeaders {
        protocol_version: text(PROTOCOL_VERSION).map_err(mismatch)?,
        method: text(METHOD).map_err(mismatch)?,
        name: text(NAME).map_err(mismatch)?,
        params: params_of(request.headers()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_names_events_gets_them() {
        for good in ["text/event-stream", "application/json, text/event-stream", "Text/Event-Stream;q=0.5"] {
            assert!(names_events(good), "{good}");
        }
        for bad in ["", "*/*", "application/json", "text/event-stream;q=0", "text/event-streams"] {
            assert!(!names_events(bad), "{bad}");
        }
    }
}

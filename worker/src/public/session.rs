//! `Mcp-Session-Id`: the session of a legacy client, begun with `initialize`, listened to with `GET`, ended with `DELETE`.

use std::sync::Arc;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, Version};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use task_mcp_mcp::{Era, Handshake, Reply, Revision, RpcError};
use task_mcp_telemetry::StreamKind;
use task_mcp_tools::Principal;

use crate::app::App;
use crate::connections::entry::Entry;
use crate::exchange::kept::{EventId, replay};
use crate::exchange::unasked::{self, Unasked};
use crate::exchange::{Client, Driven, Outlet, Terms, too_many_streams};
use crate::live::Live;
use crate::public::events::{Framing, Telling};
use crate::public::mcp::{PROTOCOL_VERSION, accepts_events, client_address_of, respond};
use crate::public::method_not_allowed;
use crate::public::rate::{Admitted, admit, tell};
use crate::public::refusal::{Form, Refusal, single};
use crate::sessions::{Session, SessionRefusal};

/// The header of a session's id.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT_ID: &str = "last-event-id";

/// Whether a request is of a client that has no sessions.
pub(crate) fn is_modern(version: Option<&str>) -> bool {
    version.and_then(|version| Revision::parse(version.trim())).is_some_and(|revision| revision.era() == Era::Modern)
}

/// The session a request belongs to, with its id; none if it names none.
pub(crate) async fn session_of(
    request: &HttpRequest,
    app: &App,
    principal: &Principal,
) -> Result<Option<Session>, HttpResponse> {
    let id = single(request, SESSION_ID.as_str()).map_err(|refusal| refusal.respond(request, Form::JsonRpc))?;
    let Some(id) = id else { return Ok(None) };
    match app.sessions.resolve(id.as_bytes(), principal).await {
        Ok(session) => match check_revision(version(request), &session) {
            Ok(()) => Ok(Some(session)),
            Err(refusal) => Err(refusal.respond(request, Form::JsonRpc)),
        },
        Err(refusal) => {
            if !matches!(refusal, SessionRefusal::Unavailable(_)) {
                app.metrics.mcp.sessions_unknown.add(1);
            }
            Err(respond(request, Reply::error(None, &refusal.to_rpc_error())))
        }
    }
}

/// The header may be missing, for the oldest revision has none. What is no revision is refused where requests are read.
fn check_revision(named: Option<&str>, session: &Session) -> Result<(), Refusal> {
    let agreed = session.sealed.revision;
    match named.and_then(|named| Revision::parse(named.trim())) {
        Some(named) if named != agreed => {
            let (named, agreed) = (named.name(), agreed.name());
            let text = format!("the header MCP-Protocol-Version names {named}, and the session speaks {agreed}");
            Err(Refusal::new(400, "PROTOCOL_VERSION_MISMATCH", text)
                .with_hint("send the revision that `initialize` was answered with"))
        }
        _ => Ok(()),
    }
}

/// Begins a session: the value of the header.
///
/// # Errors
/// The system gives no random numbers.
pub(crate) fn begin(app: &App, principal: &Principal, handshake: &Handshake<'_>) -> Result<HeaderValue, RpcError> {
    let client = (&*handshake.client_name, &*handshake.client_version);
    let failed = || RpcError::internal("no session can be made; try again");
    let begun = app.sessions.begin(principal, handshake.revision, handshake.capabilities, client);
    let (id, _) = begun.map_err(|error| {
        tracing::error!(error = %error, "A session cannot be sealed.");
        failed()
    })?;
    let id = HeaderValue::from_str(&id).map_err(|_| failed())?;
    app.metrics.mcp.sessions_begun.add(1);
    Ok(id)
}

/// `DELETE /mcp`.
pub(crate) async fn delete(request: HttpRequest, app: Data<App>) -> HttpResponse {
    let live = app.live.load_full();
    match admit(&request, &app, &live).await {
        Ok(Admitted { principal, standing }) => tell(standing, end(&request, &app, &principal).await),
        Err(refusal) => refusal.respond(&request, Form::JsonRpc),
    }
}

async fn end(request: &HttpRequest, app: &App, principal: &Principal) -> HttpResponse {
    let session = match legacy_session(request, app, principal).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    match app.sessions.end(&session).await {
        Ok(()) => {
            app.metrics.mcp.sessions_ended.add(1);
            HttpResponse::NoContent().finish()
        }
        Err(error) => respond(request, Reply::error(None, &SessionRefusal::from(error).to_rpc_error())),
    }
}

/// `GET /mcp`: the stream of a session, or one that broke.
pub(crate) async fn get(request: HttpRequest, app: Data<App>) -> HttpResponse {
    let live = app.live.load_full();
    match admit(&request, &app, &live).await {
        Ok(Admitted { principal, standing }) => tell(standing, listen(&request, &app, &live, principal).await),
        Err(refusal) => refusal.respond(&request, Form::JsonRpc),
    }
}

async fn listen(request: &HttpRequest, app: &Data<App>, live: &Live, principal: Principal) -> HttpResponse {
    // A client that asks for something else is told so before anything of its session is looked at.
    if !is_modern(version(request)) && !accepts_events(request) {
        return Refusal::new(406, "NOT_ACCEPTABLE", "GET answers with a stream")
            .with_hint("send the header Accept: text/event-stream")
            .respond(request, Form::JsonRpc);
    }
    let session = match legacy_session(request, app, &principal).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    // A stream has no length, and HTTP/1.0 has no chunks (RFC 9112, section 6.1).
    if request.version() <= Version::HTTP_10 {
        return Refusal::new(505, "HTTP_VERSION_NOT_SUPPORTED", "GET answers with a stream, which needs HTTP/1.1")
            .respond(request, Form::JsonRpc);
    }
    let last = match single(request, LAST_EVENT_ID) {
        Ok(last) => last.map(|last| last.to_str().unwrap_or_default().trim()),
        Err(refusal) => return refusal.respond(request, Form::JsonRpc),
    };
    let client = Client::of_session(principal.clone(), session.clone(), client_address_of(request, live));
    let limit = live.limits.streams_per_principal;
    let Some(place) = app.streams.take(app, &client, StreamKind::Session, limit) else {
        return respond(request, Reply::error(None, &too_many_streams(limit)));
    };
    let (outlet, emissions) = Outlet::open(Terms {
        waiting_bytes: live.limits.stream_buffer_bytes,
        messages: true,
        result_bytes: 0,
        connection: request.conn_data::<Arc<Entry>>().cloned(),
        cut: Some(app.metrics.mcp.streams_cut.clone()),
    });
    let driven = match last.filter(|last| !last.starts_with(unasked::MARK)) {
        None => {
            let token = request.headers().get(SESSION_ID).map(|id| id.as_bytes().to_vec()).unwrap_or_default();
            let is_resumed = last.is_some();
            let stream = Unasked {
                app: app.clone(),
                client: client.clone(),
                session,
                token,
                is_resumed,
                outlet: outlet.clone(),
                place,
            };
            Driven::until(Box::pin(until_barred(app.clone(), client, stream.run())), outlet, emissions)
        }
        Some(last) => {
            let Some(id) = EventId::parse(last) else {
                return Refusal::new(
                    400,
                    "BAD_EVENT_ID",
                    "the header Last-Event-ID holds no id of an event of this server",
                )
                .respond(request, Form::JsonRpc);
            };
            match id.is_known(app, &session).await {
                Ok(true) => {}
                Ok(false) => {
                    return Refusal::new(
                        404,
                        "EVENT_NOT_FOUND",
                        "the session has no such event, or no longer (state.event_ttl_s)",
                    )
                    .respond(request, Form::JsonRpc);
                }
                Err(error) => {
                    return respond(request, Reply::error(None, &SessionRefusal::from(error).to_rpc_error()));
                }
            }
            let (replayed, replayer) = (outlet.clone(), app.clone());
            let replay = async move {
                let _place = place;
                replay(replayer, session, id, replayed).await;
            };
            Driven::until(Box::pin(until_barred(app.clone(), client, replay)), outlet, emissions)
        }
    };
    let telling = Telling {
        driven,
        first: None,
        framing: Framing::Events,
        head: Default::default(),
        kind: None,
        heartbeat: live.limits.heartbeat,
        cut: None,
    };
    telling.respond(request, app)
}

/// Runs a stream until it ends, or its client may not call any more.
async fn until_barred(app: Data<App>, client: Client, stream: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = app.streams.barred(&app, &client) => {}
        () = stream => {}
    }
}

/// The session of a request that is nothing without one.
async fn legacy_session(request: &HttpRequest, app: &App, principal: &Principal) -> Result<Session, HttpResponse> {
    if is_modern(version(request)) {
        return Err(method_not_allowed(request, &[Method::POST], Form::JsonRpc));
    }
    session_of(request, app, principal).await?.ok_or_else(|| {
        Refusal::new(400, "SESSION_ID_MISSING", "the header Mcp-Session-Id is missing")
            .with_hint("send the one that `initialize` was answered with")
            .respond(request, Form::JsonRpc)
    })
}

fn version(request: &HttpRequest) -> Option<&str> {
    request.headers().get(PROTOCOL_VERSION).and_then(|version| version.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_revision_has_no_sessions() {
        assert!(is_modern(Some("2026-07-28")) && is_modern(Some(" 2026-07-28 ")));
        assert!(!is_modern(None) && !is_modern(Some("2025-11-25")) && !is_modern(Some("x")));
    }
}

//! What a legacy client changes of its session.

use actix_web::web::Data;
use serde_json::json;
use task_mcp_mcp::{LogLevel, Reply, Request, RpcError, code, shown};
use task_mcp_state::StateError;

use super::client::Client;
use crate::app::App;
use crate::sessions::{Session, SessionRefusal};

/// `logging/setLevel`.
pub(crate) async fn set_level(app: &Data<App>, request: &Request<'_>, client: &Client, level: LogLevel) -> Reply {
    let Some(session) = &client.session else { return without_session(request) };
    done(app, request, app.sessions.set_log_level(session, level.word()).await)
}

/// `resources/subscribe`.
pub(crate) async fn subscribe(app: &Data<App>, request: &Request<'_>, client: &Client, uri: &str) -> Reply {
    let Some(session) = &client.session else { return without_session(request) };
    if !app.registry.owns(uri) {
        let text = format!("Resource not found: {}", shown(uri));
        let error = RpcError::new(code::RESOURCE_NOT_FOUND, text).with_data(json!({ "uri": shown(uri) }));
        return Reply::refusal(request, error);
    }
    let limit = app.live.load().limits.subscriptions;
    match app.sessions.changed(session).await {
        Ok(changed) if changed.subscriptions.len() >= limit as usize && !changed.subscriptions.contains(uri) => {
            let text = format!(
                "the session watches {limit} resources already (limits.subscriptions); unsubscribe from one first"
            );
            return Reply::refusal(request, RpcError::invalid_params(text).with_data(json!({ "limit": limit })));
        }
        Ok(_) => {}
        Err(error) => return done(app, request, Err(error)),
    }
    done(app, request, app.sessions.subscribe(session, uri).await)
}

/// `resources/unsubscribe`.
pub(crate) async fn unsubscribe(app: &Data<App>, request: &Request<'_>, client: &Client, uri: &str) -> Reply {
    let Some(session) = &client.session else { return without_session(request) };
    done(app, request, app.sessions.unsubscribe(session, uri).await)
}

/// The least severe messages a session wants to hear; none if it never said so, or if that cannot be read now.
pub(crate) async fn log_level(app: &App, session: &Session) -> Option<LogLevel> {
    let changed = app.sessions.changed(session).await.ok()?;
    changed.log_level.as_deref().and_then(LogLevel::parse)
}

fn done(app: &Data<App>, request: &Request<'_>, changed: Result<(), StateError>) -> Reply {
    match changed {
        Ok(()) => Reply::complete(&app.engine, request, 0, |_| {}),
        Err(error @ (StateError::TooMany { .. } | StateError::TooLarge { .. })) => {
            Reply::refusal(request, RpcError::invalid_params(error.to_string()))
        }
        Err(error) => Reply::error(Some(request.id), &SessionRefusal::from(error).to_rpc_error()),
    }
}

fn without_session(request: &Request<'_>) -> Reply {
    let text = "this method changes a session: send the header Mcp-Session-Id that `initialize` was answered with";
    Reply::error(Some(request.id), &RpcError::invalid_request(text))
}

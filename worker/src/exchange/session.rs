//! What a legacy client changes of its session.

use actix_web::web::Data;
use task_mcp_mcp::{LogLevel, Reply, Request, RpcError};

use super::client::Client;
use crate::app::App;

/// `logging/setLevel`.
pub(crate) async fn set_level(_app: &Data<App>, request: &Request<'_>, _client: &Client, _level: LogLevel) -> Reply {
    without_session(request)
}

/// `resources/subscribe`.
pub(crate) async fn subscribe(_app: &Data<App>, request: &Request<'_>, _client: &Client, _uri: &str) -> Reply {
    without_session(request)
}

/// `resources/unsubscribe`.
pub(crate) async fn unsubscribe(_app: &Data<App>, request: &Request<'_>, _client: &Client, _uri: &str) -> Reply {
    without_session(request)
}

fn without_session(request: &Request<'_>) -> Reply {
    let text = "this method changes a session: send the header Mcp-Session-Id that `initialize` was answered with";
    Reply::error(Some(request.id), &RpcError::invalid_request(text))
}

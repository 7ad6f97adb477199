//! Streams of `subscriptions/listen`.
//!
//! Source: specification 2026-07-28, "Subscriptions".

use actix_web::web::Data;
use task_mcp_mcp::{Filter, Reply, Request, RpcError};

use super::client::Client;
use super::outlet::Outlet;
use crate::app::App;

/// Tells of changes until the client leaves or the server stops; the answer ends the stream.
pub(crate) async fn serve(
    _app: &Data<App>,
    request: &Request<'_>,
    _filter: &Filter,
    _client: &Client,
    _outlet: &Outlet,
) -> Reply {
    Reply::refusal(request, RpcError::internal("streams cannot be opened"))
}

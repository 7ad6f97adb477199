//! `GET /`: what this server is and where its parts are.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use task_mcp_mcp::Revision;

use crate::app::App;
use crate::public::refusal::Form;

/// Service information. It names nothing of what the server holds, so it asks for no token.
pub(crate) async fn about(request: HttpRequest, app: Data<App>) -> HttpResponse {
    let live = app.live.load();
    if let Err(refusal) = live.access.check_host(&request) {
        return refusal.respond(&request, Form::Plain);
    }
    let versions: Vec<&str> = Revision::ALL.iter().map(|revision| revision.name()).collect();
    HttpResponse::Ok().json(json!({
        "name": "task-mcp",
        "title": "Task MCP",
        "version": app.version,
        "description": "One lane for AI agents that plan and ship changes in repositories that use OpenSpec.",
        "protocolVersions": versions,
        "authentication": if live.access.needs_token() { "bearer" } else { "none" },
        "endpoints": {
            "mcp": "POST /mcp",
            "sse": "POST /sse",
            "liveness": "GET /healthz",
            "readiness": "GET /readyz",
            "health": "GET /health",
        },
    }))
}

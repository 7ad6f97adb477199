//! The public endpoint.
//!
//! - `access`: who may call: `Host`, `Origin`, bearer token
//! - `rate`: how much they may send
//! - `accounting`: every request is counted, in flight and when answered
//! - `body`: reading a body within its limits
//! - `batch`: the answers of a batch
//! - `refusal`: what is told when a request is refused, in the form of its dialect
//! - `mcp`: `POST /mcp`; JSON-RPC, or the seed's dialect when the body is one of it
//! - `session`: `GET` and `DELETE /mcp`, and the session of a request; `events`: answers that are sent while their call runs
//! - `once`: the idempotency key of a request
//! - `seed`: the seed's dialect: NDJSON on `/mcp`, server-sent events on `/sse`
//! - `health`: `/healthz`, `/readyz`, `/health`
//! - `about`: `/`

pub(crate) mod about;
pub(crate) mod access;
pub(crate) mod accounting;
pub(crate) mod batch;
mod body;
mod events;
mod health;
mod mcp;
mod once;
mod rate;
mod refusal;
mod seed;
mod session;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::public::refusal::{Form, Refusal};

/// The routes of the public endpoint.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/mcp")
                .route(web::post().to(mcp::post))
                .route(web::get().to(session::get))
                .route(web::delete().to(session::delete))
                .default_service(web::to(only_mcp)),
        )
        .service(web::resource("/sse").route(web::post().to(seed::post_sse)).default_service(web::to(only_post)))
        .service(readable("/healthz", web::get().to(health::healthz), web::head().to(health::healthz)))
        .service(readable("/readyz", web::get().to(health::readyz), web::head().to(health::readyz)))
        .service(readable("/health", web::get().to(health::health), web::head().to(health::health)))
        .service(readable("/", web::get().to(about::about), web::head().to(about::about)))
        .default_service(web::to(not_found));
}

fn readable(path: &str, get: actix_web::Route, head: actix_web::Route) -> actix_web::Resource {
    web::resource(path).route(get).route(head).default_service(web::to(only_get))
}

async fn only_mcp(request: HttpRequest) -> HttpResponse {
    method_not_allowed(&request, &[Method::POST, Method::GET, Method::DELETE], Form::JsonRpc)
}

async fn only_post(request: HttpRequest) -> HttpResponse {
    method_not_allowed(&request, &[Method::POST], Form::Plain)
}

async fn only_get(request: HttpRequest) -> HttpResponse {
    method_not_allowed(&request, &[Method::GET, Method::HEAD], Form::Plain)
}

fn method_not_allowed(request: &HttpRequest, allowed: &[Method], form: Form) -> HttpResponse {
    let allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    let allowed = allowed.join(", ");
    let refusal = Refusal::new(405, "METHOD_NOT_ALLOWED", format!("this path answers {allowed} only"));
    let mut response = refusal.respond(request, form);
    if let Ok(value) = header::HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    Refusal::new(404, "NOT_FOUND", "nothing is served under this path")
        .with_hint("MCP is served under /mcp; GET / lists the paths")
        .respond(&request, Form::Plain)
}

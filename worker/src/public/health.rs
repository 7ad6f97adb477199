//! Liveness, readiness, named checks. Probes use addresses and bring no token, so these paths check neither.

use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use task_mcp_changes::ActiveQuery;

use crate::app::App;

/// `GET /healthz`: the process serves.
pub(crate) async fn healthz(app: Data<App>) -> HttpResponse {
    answer(
        true,
        &json!({
            "status": "ok",
            "timestamp": Timestamp::now().to_string(),
            "uptime": app.started.elapsed().as_secs(),
            "version": app.version,
        }),
    )
}

/// `GET /readyz`: the process may be sent requests; 503 before it is warm and while it drains.
pub(crate) async fn readyz(app: Data<App>) -> HttpResponse {
    let ready = app.readiness.is_ready();
    let (cache, state) = (app.cache.health(), app.state.health());
    let status = match (ready, app.readiness.is_draining()) {
        // Calls are served all the same, only slower, or all but writes with an idempotency key: the process stays ready.
        (true, _) if cache.reason.is_some() || state.reason.is_some() => "degraded",
        (true, _) => "ready",
        (false, true) => "draining",
        (false, false) => "starting",
    };
    answer(
        ready,
        &json!({
            "ready": ready,
            "status": status,
            "timestamp": Timestamp::now().to_string(),
            "uptime": app.started.elapsed().as_secs(),
            "version": app.version,
            "dependencies": {
                "store": { "kind": store_kind(&app) },
                "cache": { "configured": cache.configured, "inForce": cache.in_force, "reason": cache.reason },
                "state": { "configured": state.configured, "inForce": state.in_force, "reason": state.reason },
            },
        }),
    )
}

/// `GET /health`: every check by name with its duration in milliseconds; 503 when one fails.
pub(crate) async fn health(app: Data<App>) -> HttpResponse {
    let mut checks = Map::new();
    let started = Instant::now();
    // Strangers may ask, so only the code is told; the log and the tools' own errors say more.
    let store = app.store.active(ActiveQuery::default()).await.map(|_| ()).map_err(|error| error.code().to_owned());
    checks.insert("store".into(), check(started, store));
    let started = Instant::now();
    let state = app.state.health().reason.map_or(Ok(()), |reason| Err(reason.to_owned()));
    checks.insert("state".into(), check(started, state));
    let started = Instant::now();
    let readiness = if app.readiness.is_ready() { Ok(()) } else { Err("the process starts or drains".to_owned()) };
    checks.insert("readiness".into(), check(started, readiness));
    let healthy = checks.values().all(|check| check.get("status").and_then(Value::as_str) == Some("pass"));
    answer(healthy, &json!({ "status": if healthy { "healthy" } else { "unhealthy" }, "checks": checks }))
}

/// The store without the place it is at.
fn store_kind(app: &App) -> &str {
    app.store.id().split(':').next().unwrap_or_default()
}

fn check(started: Instant, outcome: Result<(), String>) -> Value {
    let mut check = json!({
        "status": if outcome.is_ok() { "pass" } else { "fail" },
        "duration": started.elapsed().as_secs_f64() * 1_000.0,
        "timestamp": Timestamp::now().to_string(),
    });
    if let (Err(error), Some(fields)) = (outcome, check.as_object_mut()) {
        fields.insert("error".into(), error.into());
    }
    check
}

fn answer(good: bool, body: &Value) -> HttpResponse {
    let mut response = if good { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.insert_header((CACHE_CONTROL, "no-store")).json(body)
}

//! The admin process: the admin listener, and the machine's one housekeeper. It serves no client, so that overload or a crash
//! loop of the workers never hides the metrics.
//!
//! - `questions`: what operators ask through the control socket
//! - `elsewhere`: what other instances have written

mod elsewhere;
mod questions;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt};
use arc_swap::ArcSwapOption;
use serde_json::json;
use subtle::ConstantTimeEq;
use task_mcp_cache::Cache;
use task_mcp_config::Settings;
use task_mcp_link::FromProcess;
use task_mcp_scoreboard::{Role, Scoreboard, SeatState, monotonic_ms};
use task_mcp_state::{Bus, State};
use task_mcp_telemetry::{Metrics, exposition};
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::questions::Questions;
pub use self::questions::{CacheAnswer, CacheQuestion};
use crate::assembly::store_id;
use crate::bearer::bearer;
use crate::epochs::TreeEpoch;
use crate::error::WorkerError;
use crate::heartbeat::beat;
use crate::link::{Link, addresses, hello};
use crate::orders::{Happened, Order, applied, happens, heed, publish};
use crate::process::{Boot, Build, Exit, Logs, Process};
use crate::signals::Signals;
use crate::watcher::{self, Edit};

/// What the requests of the admin listener share.
struct AdminApp {
    scoreboard: Scoreboard,
    /// Of `admin.token`, if there is one; changes while the process runs.
    token_hash: ArcSwapOption<blake3::Hash>,
    version: String,
}

/// Runs the admin process until it is told to end. `tools` and `codes` are those the scoreboard was planned with.
///
/// # Errors
/// What was inherited cannot be served.
pub fn run_admin(boot: &Boot, build: &Build, tools: &[&str], codes: &[&str], logs: Logs) -> Result<Exit, WorkerError> {
    let process = Process::adopt(boot, Role::Admin, logs)?;
    let metrics = Metrics::bind(&process.scoreboard, &process.seat, tools, codes)?;
    let epoch = TreeEpoch::new(process.commons.epochs());
    let (touched, edits) = watcher::edits();
    watcher::watch(&process.settings.store, epoch, touched, metrics.tree_changes_seen.clone())?;
    rt::System::new().block_on(serve(boot, build, process, edits, &metrics, logs))
}

async fn serve(
    boot: &Boot,
    build: &Build,
    process: Process,
    edits: mpsc::Receiver<Edit>,
    metrics: &Metrics,
    logs: Logs,
) -> Result<Exit, WorkerError> {
    let mut signals = Signals::install()?;
    let (bus, cache) = keep_house(&process, edits, metrics)?;
    let mut questions = Questions::new(cache);
    let seat = process.seat.clone();
    let mut link = Link::new(process.link)?;
    link.tell(&hello(boot, build)).await?;
    let app = Data::new(AdminApp {
        scoreboard: process.scoreboard,
        token_hash: ArcSwapOption::new(token_hash(&process.settings)),
        version: build.version.clone(),
    });
    let shared = app.clone();
    let listening = addresses(&process.listeners);
    let beating = seat.clone();
    let mut http = HttpServer::new(move || {
        rt::spawn(beat(beating.clone()));
        App::new()
            .app_data(app.clone())
            .service(web::resource("/metrics").route(web::get().to(show_metrics)).route(web::head().to(show_metrics)))
            .default_service(web::to(not_found))
    })
    .workers(1)
    .disable_signals()
    .tcp_nodelay(true)
    .max_connections(CONNECTIONS_MAX);
    for listener in process.listeners {
        http = http.listen(listener).map_err(WorkerError::Listen)?;
    }
    let server = http.run();
    let handle = server.handle();
    rt::spawn(server);
    seat.set_state(SeatState::Live);
    link.tell(&FromProcess::Ready { listening }).await?;

    tokio::select! {
        () = told_to_end(&mut link, &shared, &bus, &mut questions, logs) => {}
        () = signals.terminated() => {}
    }
    seat.set_state(SeatState::Draining);
    // A scrape takes milliseconds; there is nothing to wait for beyond the one under way.
    let _ = timeout(Duration::from_secs(1), handle.stop(true)).await;
    let _ = link.tell(&FromProcess::Drained { forced: false }).await;
    Ok(Exit::Drained)
}

/// Does the chores of the machine for cache and state, beside the listener; the bus and the cache of this process.
fn keep_house(process: &Process, edits: mpsc::Receiver<Edit>, metrics: &Metrics) -> Result<(Bus, Cache), WorkerError> {
    let (settings, commons) = (&process.settings, &process.commons);
    let id = store_id(settings);
    let cache = Cache::open(settings, &id, commons, metrics.cache.clone(), metrics.cache_redis.clone())?;
    let state = State::open(settings, commons, metrics.state.clone(), metrics.state_redis.clone())?;
    rt::spawn(watcher::tell(edits, cache.clone(), state.bus().clone()));
    let parts = (state.bus().clone(), cache.clone());
    let epoch = TreeEpoch::new(commons.epochs());
    let bumped = cache.clone();
    rt::spawn(async move { cache.keep_house().await });
    let catch_up = move |heard| {
        let (epoch, cache) = (epoch.clone(), bumped.clone());
        async move { elsewhere::catch_up(&heard, &epoch, &cache).await }
    };
    rt::spawn(async move { state.keep_house(catch_up).await });
    Ok(parts)
}

/// Does what the supervisor says until it asks for the end, or is gone.
async fn told_to_end(link: &mut Link, app: &AdminApp, bus: &Bus, questions: &mut Questions, logs: Logs) {
    let outbox = bus.outbox();
    loop {
        let happened = tokio::select! {
            happened = happens(link, &outbox) => happened,
            answer = questions.next_answer() => {
                answer_with(link, &answer);
                continue;
            }
        };
        let told = match happened {
            Happened::Told(told) => told,
            Happened::Publishes(outgoing) => {
                publish(link, outgoing);
                continue;
            }
            Happened::Gone => return,
        };
        match heed(told, logs, bus) {
            Some(Order::Drain(_)) => return,
            Some(Order::Apply { revision, settings }) => {
                app.token_hash.store(token_hash(&settings));
                applied(link, revision).await;
            }
            Some(Order::Answer { id, question }) => {
                if let Some(refusal) = questions.ask(id, &question) {
                    answer_with(link, &refusal);
                }
            }
            // It has no share in the public endpoint.
            Some(Order::Adopt { .. }) | None => {}
        }
    }
}

fn answer_with(link: &mut Link, answer: &FromProcess) {
    if let Err(error) = link.post(answer) {
        tracing::error!(error = %error, "An operator's question could not be answered.");
    }
}

fn token_hash(settings: &Settings) -> Option<Arc<blake3::Hash>> {
    settings.admin.required_token().map(|token| Arc::new(blake3::hash(token.expose().as_bytes())))
}

/// Scrapers and operators, not clients.
const CONNECTIONS_MAX: usize = 64;

async fn show_metrics(request: HttpRequest, app: Data<AdminApp>) -> HttpResponse {
    if !app.admits(&request) {
        return HttpResponse::Unauthorized()
            .insert_header((WWW_AUTHENTICATE, "Bearer realm=\"task-mcp admin\""))
            .json(json!({ "error": { "code": "UNAUTHORIZED", "message": "the admin listener needs its bearer token (admin.token)" } }));
    }
    let started_ms = (0..app.scoreboard.seats())
        .filter_map(|index| app.scoreboard.seat(index))
        .map(|seat| seat.started_ms())
        .filter(|started_ms| *started_ms > 0)
        .min();
    let uptime_ms = monotonic_ms().saturating_sub(started_ms.unwrap_or_else(monotonic_ms));
    match exposition(&app.scoreboard, &app.version, uptime_ms as f64 / 1_000.0) {
        Ok(text) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(text),
        Err(error) => {
            tracing::error!(error = %error, "The metrics cannot be written.");
            HttpResponse::InternalServerError().json(json!({ "error": { "code": "INTERNAL_ERROR" } }))
        }
    }
}

impl AdminApp {
    fn admits(&self, request: &HttpRequest) -> bool {
        let expected = self.token_hash.load();
        let Some(expected) = expected.as_deref() else { return true };
        let token = request.headers().get(AUTHORIZATION).and_then(bearer);
        token.is_some_and(|token| bool::from(blake3::hash(token).as_bytes().ct_eq(expected.as_bytes())))
    }
}

async fn not_found() -> HttpResponse {
    HttpResponse::NotFound()
        .json(json!({ "error": { "code": "NOT_FOUND", "message": "the admin listener serves GET /metrics" } }))
}

//! The life of a worker: build, warm up, serve, drain.

use std::any::Any;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::{Extensions, Server};
use actix_web::{App as ActixApp, HttpServer, middleware, rt, web};
use task_mcp_changes::ActiveQuery;
use task_mcp_config::Settings;
use task_mcp_link::{FromProcess, ToProcess};
use task_mcp_mcp::{Catalog, Engine, ServerInfo};
use task_mcp_scoreboard::{Role, Seat, SeatState};
use task_mcp_telemetry::{Latch, Readiness};
use task_mcp_tools::Tool;
use tokio::sync::watch;

use crate::app::{App, RequestLimits};
use crate::assembly::Assembly;
use crate::drain::drain;

use crate::epochs::TreeEpoch;
use crate::error::WorkerError;
use crate::faults::{Armed, Faults};
use crate::heartbeat::beat;
use crate::link::{Link, addresses, hello};
use crate::process::{Boot, Build, Exit, Process, StartLogging};
use crate::public::access::Access;
use crate::public::{accounting, routes};
use crate::signals::Signals;

/// Runs a worker until it has drained. `tools` come beside the built-in ones; `faults` are for tests.
///
/// # Errors
/// What was inherited or configured cannot be served.
pub fn run_worker(
    boot: &Boot,
    build: &Build,
    tools: Vec<Arc<dyn Tool>>,
    faults: Faults,
    start_logging: StartLogging,
) -> Result<Exit, WorkerError> {
    let process = Process::adopt(boot, Role::Worker, start_logging)?;
    let faults = Arc::new(Armed::new(faults, boot.slot));
    faults.at_boot();
    rt::System::new().block_on(serve(boot, build, tools, faults, process))
}

async fn serve(
    boot: &Boot,
    build: &Build,
    tools: Vec<Arc<dyn Tool>>,
    faults: Arc<Armed>,
    process: Process,
) -> Result<Exit, WorkerError> {
    let mut signals = Signals::install()?;
    let Process { settings, scoreboard, seat, epochs, link, listeners } = process;
    let mut link = Link::new(link)?;
    link.tell(&hello(boot, build)).await?;
    let listening = addresses(&listeners);
    let epochs = Arc::new(TreeEpoch::new(epochs));
    let readiness = Readiness::default();
    let warm = readiness.latch();
    let started = Assembly::new(&settings, tools, &scoreboard, &seat, epochs, pool_threads(&settings))
        .and_then(|assembly| start(&settings, build, assembly, &seat, readiness, Arc::clone(&faults), listeners));
    let (app, server) = match started {
        Ok(started) => started,
        Err(error) => {
            link.tell_fatal(&error).await;
            return Err(error);
        }
    };
    let handle = server.handle();
    let mut server = rt::spawn(server);
    warm_up(&app, warm).await;
    seat.set_state(SeatState::Live);
    link.tell(&FromProcess::Ready { listening }).await?;
    faults.when_ready();

    let drain_timeout = Duration::from_secs(settings.supervisor.drain_timeout_s);
    let deadline = tokio::select! {
        deadline = told_to_drain(&mut link) => match deadline {
            Some(deadline) => deadline,
            None => {
                tracing::warn!("The supervisor is gone; the worker drains and ends.");
                drain_timeout
            }
        },
        () = signals.terminated() => drain_timeout,
        ended = &mut server => {
            let reason = match ended {
                Ok(Ok(())) => std::io::Error::other("the server ended by itself"),
                Ok(Err(error)) => error,
                Err(error) => std::io::Error::other(error),
            };
            let error = WorkerError::Listen(reason);
            link.tell_fatal(&error).await;
            return Err(error);
        }
    };
    faults.before_drain().await;
    // A supervisor that is gone hears nothing; the drain goes on all the same.
    let _ = link.tell(&FromProcess::Draining).await;
    let lame_duck = Duration::from_millis(settings.supervisor.lame_duck_ms);
    let exit = drain(&app, &handle, lame_duck, deadline).await;
    let _ = link.tell(&FromProcess::Drained { forced: exit == Exit::Forced }).await;
    Ok(exit)
}

/// Waits until the supervisor asks for a drain; `None` when it is gone.
async fn told_to_drain(link: &mut Link) -> Option<Duration> {
    loop {
        if let ToProcess::Drain { deadline_ms } = link.next().await?.message {
            return Some(Duration::from_millis(deadline_ms));
        }
    }
}

/// Builds what the requests share and starts to serve it.
fn start(
    settings: &Settings,
    build: &Build,
    assembly: Assembly,
    seat: &Seat,
    readiness: Readiness,
    faults: Arc<Armed>,
    listeners: Vec<TcpListener>,
) -> Result<(web::Data<App>, Server), WorkerError> {
    let app = web::Data::new(build_app(settings, build, assembly, seat, readiness, faults)?);
    let server = http_server(settings, listeners, app.clone())?;
    Ok((app, server))
}

fn build_app(
    settings: &Settings,
    build: &Build,
    assembly: Assembly,
    seat: &Seat,
    readiness: Readiness,
    faults: Arc<Armed>,
) -> Result<App, WorkerError> {
    let catalog = Catalog::new(&server_info(build), assembly.registry.descriptions())?;
    Ok(App {
        engine: Engine::new(catalog),
        executor: assembly.executor,
        pool: assembly.pool,
        store: assembly.store,
        access: Access::new(settings),
        readiness,
        metrics: assembly.metrics,
        seat: seat.clone(),
        limits: RequestLimits {
            body_bytes: usize::try_from(settings.limits.body_bytes).unwrap_or(usize::MAX),
            body_timeout: Duration::from_millis(settings.limits.body_timeout_ms),
            json_depth: settings.limits.json_depth,
            heartbeat: Duration::from_millis(settings.server.heartbeat_ms),
        },
        faults,
        stop_reading: watch::Sender::new(false),
        version: build.version.clone(),
        started: Instant::now(),
    })
}

/// The threads of the pool are divided over the workers, so that the instance never computes on more than it was given.
fn pool_threads(settings: &Settings) -> usize {
    let total = match settings.tools.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => usize::from(threads),
    };
    total.div_ceil(usize::from(settings.server.workers.max(1)))
}

fn server_info(build: &Build) -> ServerInfo {
    ServerInfo {
        name: "task-mcp".to_owned(),
        title: "Task MCP".to_owned(),
        version: build.version.clone(),
        instructions: "Plans and ships changes in a repository that uses OpenSpec. Call changes.active first to see what is \
                       under way, change.show before you work on one, change.open to propose a new one, and change.archive \
                       when its tasks are done: it merges the change into the living specs."
            .to_owned(),
    }
}

fn http_server(settings: &Settings, listeners: Vec<TcpListener>, app: web::Data<App>) -> Result<Server, WorkerError> {
    let limits = &settings.limits;
    let workers = usize::from(settings.server.workers.max(1));
    let seat = app.seat.clone();
    let mut http = HttpServer::new(move || {
        // The factory runs on the thread that serves: a heartbeat from here stops when that thread is stuck.
        rt::spawn(beat(app.seat.clone()));
        ActixApp::new().app_data(app.clone()).wrap(middleware::from_fn(accounting::account)).configure(routes)
    })
    .workers(1)
    .disable_signals()
    .keep_alive(Duration::from_secs(limits.keep_alive_s))
    .client_request_timeout(Duration::from_millis(limits.headers_timeout_ms))
    .max_connections((limits.max_connections as usize).div_ceil(workers))
    .shutdown_timeout(settings.supervisor.drain_timeout_s)
    .tcp_nodelay(true)
    .on_connect(move |_: &dyn Any, extensions: &mut Extensions| {
        seat.connection_opened();
        extensions.insert(OpenConnection(seat.clone()));
    });
    for listener in listeners {
        http = http.listen(listener).map_err(WorkerError::Listen)?;
    }
    Ok(http.run())
}

/// Lives in the data of a connection and is dropped with it.
struct OpenConnection(Seat);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

/// Reads the tree once, so that the first client does not wait for it. A tree that cannot be read keeps the worker from being
/// ready for nothing but itself: calls say what is wrong with it.
async fn warm_up(app: &App, latch: Latch) {
    let started = Instant::now();
    match app.store.active(ActiveQuery::default()).await {
        Ok(page) => {
            let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(changes = page.total, duration_ms, "The index of changes is warm.");
        }
        Err(error) => tracing::warn!(error = %error, "The tree of changes cannot be read yet; calls will say so."),
    }
    drop(latch);
}

//! The life of a worker: build, warm up, serve, drain.

use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_service::fn_factory;
use actix_web::dev::Server;
use actix_web::{rt, web};
use task_mcp_changes::ActiveQuery;
use task_mcp_config::Settings;
use task_mcp_link::FromProcess;
use task_mcp_scoreboard::{Role, SeatState};
use task_mcp_telemetry::{Latch, Readiness};
use task_mcp_tools::Additions;

use crate::app::{App, session_terms};
use crate::assembly::{Assembly, Memory, call_limits};
use crate::connections::ConnectionLimits;
use crate::connections::adopted::{self, Adopter};
use crate::connections::front::Front;
use crate::connections::gate::Gate;
use crate::connections::serve::service;
use crate::connections::sweep::sweep;
use crate::drain::drain;
use crate::error::WorkerError;
use crate::exchange::tasks;
use crate::faults::{Armed, Faults};
use crate::heartbeat::beat;
use crate::keys::keyring;
use crate::link::{Link, Told, addresses, hello};
use crate::live::Live;
use crate::orders::{Happened, Order, applied, happens, heed, publish};
use crate::process::{Boot, Build, Exit, Logs, Process};
use crate::signals::Signals;

/// Runs a worker until it has drained. `additions` come beside what is built in; `faults` are for tests.
///
/// # Errors
/// What was inherited or configured cannot be served.
pub fn run_worker(
    boot: &Boot,
    build: &Build,
    additions: Additions,
    faults: Faults,
    logs: Logs,
) -> Result<Exit, WorkerError> {
    let process = Process::adopt(boot, Role::Worker, logs)?;
    let faults = Arc::new(Armed::new(faults, boot.slot));
    faults.at_boot();
    rt::System::new().block_on(serve(boot, build, additions, faults, process, logs))
}

async fn serve(
    boot: &Boot,
    build: &Build,
    additions: Additions,
    faults: Arc<Armed>,
    process: Process,
    logs: Logs,
) -> Result<Exit, WorkerError> {
    let mut signals = Signals::install()?;
    let Process { settings, scoreboard, seat, commons, link, listeners } = process;
    let mut link = Link::new(link)?;
    link.tell(&hello(boot, build)).await?;
    let listening = addresses(&listeners);
    let memory = Memory { scoreboard, commons, seat: seat.clone() };
    let readiness = Readiness::default();
    let warm = readiness.latch();
    let started = Assembly::new(&settings, &additions, &memory, pool_threads(&settings))
        .and_then(|assembly| start(&settings, build, assembly, &memory, readiness, Arc::clone(&faults), listeners));
    let (front, server) = match started {
        Ok(started) => started,
        Err(error) => {
            link.tell_fatal(&error).await;
            return Err(error);
        }
    };
    let app = front.app.clone();
    let handle = server.handle();
    let mut server = rt::spawn(server);
    warm_up(&app, warm).await;
    seat.set_state(SeatState::Live);
    link.tell(&FromProcess::Ready { listening }).await?;
    faults.when_ready();
    rt::spawn(tasks::keep(front.app.clone()));

    let deadline = tokio::select! {
        deadline = told_to_drain(&mut link, &front, logs) => match deadline {
            Some(deadline) => deadline,
            None => {
                tracing::warn!("The supervisor is gone; the worker drains and ends.");
                app.live.load().drain_timeout
            }
        },
        () = signals.terminated() => app.live.load().drain_timeout,
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
    let lame_duck = app.live.load().lame_duck;
    let exit = {
        let mut drained = pin!(drain(&front, &handle, lame_duck, deadline));
        let mut listens = true;
        let outbox = app.state.bus().outbox();
        loop {
            tokio::select! {
                exit = &mut drained => break exit,
                happened = happens(&mut link, &outbox), if listens => match happened {
                    Happened::Told(told) => drop(obey(told, &mut link, &front, logs).await),
                    Happened::Publishes(outgoing) => publish(&mut link, outgoing),
                    Happened::Gone => listens = false,
                },
            }
        }
    };
    let _ = link.tell(&FromProcess::Drained { forced: exit == Exit::Forced }).await;
    Ok(exit)
}

/// Does what the supervisor says until it asks for a drain; `None` when it is gone.
async fn told_to_drain(link: &mut Link, front: &Front, logs: Logs) -> Option<Duration> {
    let outbox = front.app.state.bus().outbox();
    loop {
        match happens(link, &outbox).await {
            Happened::Told(told) => {
                if let Some(deadline) = obey(told, link, front, logs).await {
                    return Some(deadline);
                }
            }
            Happened::Publishes(outgoing) => publish(link, outgoing),
            Happened::Gone => return None,
        }
    }
}

/// Does what the supervisor said; what a drain is given, if it is to be one.
async fn obey(told: Told, link: &mut Link, front: &Front, logs: Logs) -> Option<Duration> {
    let app = &front.app;
    match heed(told, logs, app.state.bus())? {
        Order::Drain(deadline) => return Some(deadline),
        Order::Apply { revision, settings } => {
            app.live.store(Arc::new(Live::new(&settings)));
            app.streams.settings_changed();
            app.executor.set_limits(call_limits(&settings));
            take_over_sessions(app, *settings).await;
            applied(link, revision).await;
        }
        // A worker that drains takes on nothing more.
        Order::Adopt { .. } if app.readiness.is_draining() => {}
        Order::Adopt { slot, sockets } => front.adopter.adopt(slot, sockets),
        // Operators ask the admin process.
        Order::Answer { .. } => {}
    }
    None
}

/// Puts in force what changed for sessions. The keys may lie in a file, which is not read on the thread that serves.
async fn take_over_sessions(app: &App, settings: Settings) {
    let read = rt::task::spawn_blocking(move || (keyring(&settings), settings));
    let Ok((keys, settings)) = read.await else { return };
    let keys = keys.unwrap_or_else(|error| {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "The keys for sessions cannot be taken over; those from before stay in force.");
        app.sessions.terms().keys.clone()
    });
    app.sessions.set_terms(session_terms(&settings, keys));
}

/// Builds what the requests share and starts to serve it.
fn start(
    settings: &Settings,
    build: &Build,
    assembly: Assembly,
    memory: &Memory,
    readiness: Readiness,
    faults: Arc<Armed>,
    listeners: Vec<TcpListener>,
) -> Result<(Arc<Front>, Server), WorkerError> {
    let front = Arc::new(build_front(settings, build, assembly, memory, readiness, faults)?);
    let server = http_server(listeners, &front)?;
    Ok((front, server))
}

fn build_front(
    settings: &Settings,
    build: &Build,
    assembly: Assembly,
    memory: &Memory,
    readiness: Readiness,
    faults: Arc<Armed>,
) -> Result<Front, WorkerError> {
    let limits = ConnectionLimits::new(settings);
    let gate = Gate::new(limits, &memory.seat, &memory.commons, assembly.metrics.limits.clone())?;
    let app = web::Data::new(App::new(settings, build, assembly, memory, readiness, keyring(settings)?)?);
    Ok(Front { app, gate, adopter: Adopter::new(), faults })
}

/// The threads of the pool are divided over the workers, so that the instance never computes on more than it was given.
fn pool_threads(settings: &Settings) -> usize {
    let total = match settings.tools.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => usize::from(threads),
    };
    total.div_ceil(usize::from(settings.server.workers.max(1)))
}

fn http_server(listeners: Vec<TcpListener>, front: &Arc<Front>) -> Result<Server, WorkerError> {
    let mut server = Server::build()
        .workers(1)
        .disable_signals()
        .max_concurrent_connections(front.gate.limits().most_sockets())
        // The drain has its own deadline, which may change meanwhile.
        .shutdown_timeout(DAY_S);
    let stops = server.graceful_shutdown_signal();
    for (index, listener) in listeners.into_iter().enumerate() {
        let (front, stops) = (front.clone(), stops.clone());
        let factory = move || {
            let (front, stops) = (front.clone(), stops.clone());
            if index == 0 {
                // The factory runs on the thread that serves: a heartbeat from here stops when that thread is stuck.
                rt::spawn(beat(front.app.seat.clone()));
                rt::spawn(sweep(front.gate.clone()));
                adopted::begin(&front);
            }
            fn_factory(move || {
                let (front, stops) = (front.clone(), stops.clone());
                async move {
                    let closing = move || {
                        let stops = stops.clone();
                        async move { stops.notified().await }
                    };
                    service(&front, closing).await
                }
            })
        };
        server = server.listen(format!("public-{index}"), listener, factory).map_err(WorkerError::Listen)?;
    }
    Ok(server.run())
}

/// Longer than any drain, in seconds.
const DAY_S: u64 = 86_400;

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use std::fs::File;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use actix_web::test::TestRequest;
    use task_mcp_config::{Sources, load};
    use task_mcp_link::{Decoder, Received, ToProcess};
    use task_mcp_mcp::CallResult;
    use task_mcp_scoreboard::{Commons, Plan, Scoreboard};
    use task_mcp_tools::{Call, Inventory, Principal, Stop};

    use super::*;

    const LOGS: Logs = Logs { start: |_| {}, apply: |_| {}, set_level: |_| {}, reopen: || {} };

    fn settings(root: &std::path::Path, set: &[&str]) -> Settings {
        let set = set.iter().map(|one| (*one).to_owned()).collect();
        load(&Sources { set, root: Some(root.to_owned()), ..Sources::from_process().unwrap() }).unwrap().settings
    }

    fn snapshot(settings: &Settings) -> OwnedFd {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &settings.snapshot().unwrap()).unwrap();
        File::into(file)
    }

    fn told(message: ToProcess, descriptors: Vec<OwnedFd>) -> Told {
        Told { message, descriptors }
    }

    async fn call(app: &App) -> Result<CallResult, Stop> {
        app.executor.execute(&Call::new(Principal::anonymous()), "changes.active", "{}").await.outcome
    }

    #[tokio::test]
    async fn settings_are_taken_over_in_place_and_what_cannot_be_read_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        for change in ["one", "two", "three", "four", "five"] {
            let directory = root.path().join("openspec/changes").join(change);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("proposal.md"), "# A change\n").unwrap();
        }
        let before = settings(root.path(), &[]);
        let inventory = Inventory::with(&Additions::default());
        let series = task_mcp_telemetry::plan(&inventory.names(), inventory.codes());
        let scoreboard = Scoreboard::create(&Plan { seats: 1, series }).unwrap();
        let seat = scoreboard.seat(0).unwrap();
        let memory = Memory { scoreboard, commons: Commons::create().unwrap(), seat: seat.clone() };
        let assembly = Assembly::alone(&before, &Additions::default(), &memory).unwrap();
        let build = Build { version: "1".into(), build: "1".into() };
        let no_faults = Arc::new(Armed::new(Faults::default(), 0));
        let front = build_front(&before, &build, assembly, &memory, Readiness::default(), no_faults).unwrap();
        let app = &front.app;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(theirs.into()).unwrap();
        let admitted = |token: &str| {
            let request = TestRequest::default().insert_header(("host", "localhost"));
            let request = request.insert_header(("authorization", format!("Bearer {token}")));
            app.live.load().access.check(&request.to_http_request()).is_ok()
        };
        assert!(admitted("anything") && call(app).await.is_ok());

        let after = settings(
            root.path(),
            &["auth.tokens=[\"0123456789abcdef-new\"]", "limits.response_bytes=256", "limits.body_bytes=300"]
                .into_iter()
                .chain(["supervisor.drain_timeout_s=7", "supervisor.lame_duck_ms=8", "server.heartbeat_ms=90"])
                .collect::<Vec<_>>(),
        );
        let began_with = app.live.load_full();
        obey(told(ToProcess::Apply { revision: 5 }, vec![snapshot(&after)]), &mut link, &front, LOGS).await;
        assert!(!admitted("anything") && admitted("0123456789abcdef-new"));
        let live = app.live.load_full();
        assert_eq!((live.limits.body_bytes, live.limits.heartbeat), (300, Duration::from_millis(90)));
        assert_eq!((live.drain_timeout, live.lame_duck), (Duration::from_secs(7), Duration::from_millis(8)));
        assert!(!began_with.access.needs_token(), "a request under way keeps what it began with");
        assert_eq!(call(app).await.unwrap_err().into_error().code, "RESPONSE_TOO_LARGE");

        ours.set_nonblocking(true).unwrap();
        let told_back = |expected: Option<FromProcess>| {
            let mut decoder = Decoder::<FromProcess>::new();
            let mut bytes = [0; 1024];
            let read = std::io::Read::read(&mut &ours, &mut bytes).unwrap_or(0);
            decoder.push(&bytes[..read]);
            assert_eq!(decoder.next_message().unwrap(), expected.map(Received::Message));
        };
        told_back(Some(FromProcess::Applied { revision: 5 }));
        let garbage = File::into(tempfile::tempfile().unwrap());
        obey(told(ToProcess::Apply { revision: 6 }, vec![garbage]), &mut link, &front, LOGS).await;
        told_back(None);
        assert!(admitted("0123456789abcdef-new"));
        let without = told(ToProcess::Apply { revision: 7 }, vec![]);
        assert!(
            obey(without, &mut link, &front, LOGS).await.is_some(),
            "it makes room for one that can take them over"
        );
    }
}

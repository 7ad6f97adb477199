//! MCP over standard input and output: one client, one process that runs alone, one message a line.
//!
//! - `lines`: standard input; `output`: standard output, to which nothing else writes
//! - `serve`: one message of the client; `under_way`: how many requests there may be, and which are cancelled; `place`: what they run in
//!
//! Both eras are spoken, as over HTTP, and everything else is the same too but this: there are no headers, and a legacy session lies in
//! the memory of the process. The process ends when its input does, when it is told to, or when nobody reads its output.
//!
//! Source: specification 2026-07-28, "stdio"; 2025-11-25, "Transports", stdio.

mod lines;
mod output;
mod place;
mod serve;
mod under_way;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt;
use actix_web::web::{Bytes, Data};
use task_mcp_config::Settings;
use task_mcp_telemetry::Readiness;
use task_mcp_tools::{Additions, Cut, Principal};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use self::output::Written;
use self::serve::{Connection, take};
use self::under_way::UnderWay;
use crate::app::App;
use crate::assembly::{Assembly, Memory};
use crate::epochs::TreeEpoch;
use crate::error::WorkerError;
use crate::exchange::overhear;
use crate::exchange::tasks::{self, Leave};
use crate::keys::of_this_process;
use crate::process::{Build, Exit};
use crate::sessions::Session;
use crate::watcher;

/// How often it is looked whether writes are done whose client has left them.
const LOOK: Duration = Duration::from_millis(5);
/// How long the last messages may take to be written once everything is done.
const FLUSH: Duration = Duration::from_secs(2);

/// Serves one client over standard input and output until it has had all its answers. `additions` come beside what is built in;
/// `principal` is whoever started the process.
///
/// # Errors
/// The tree cannot be opened, or the system refuses threads.
pub fn run_stdio(
    settings: &Settings,
    build: &Build,
    additions: &Additions,
    memory: &Memory,
    principal: Principal,
) -> Result<Exit, WorkerError> {
    rt::System::new().block_on(serve(settings, build, additions, memory, principal))
}

async fn serve(
    settings: &Settings,
    build: &Build,
    additions: &Additions,
    memory: &Memory,
    principal: Principal,
) -> Result<Exit, WorkerError> {
    let mut signals = Signals::install()?;
    let assembly = Assembly::alone(settings, additions, memory)?;
    let app = App::new(settings, build, assembly, memory, Readiness::default(), of_this_process()?)?;
    let app = Data::new(app);
    let (touched, edits) = watcher::edits();
    let epoch = TreeEpoch::new(memory.commons.epochs());
    watcher::watch(&settings.store, epoch, touched, app.metrics.tree_changes_seen.clone())?;
    rt::spawn(watcher::tell(edits, app.cache.clone(), app.state.bus().clone()));
    rt::spawn(tasks::keep(app.clone()));

    let limit = app.live.load().limits.body_bytes;
    let mut lines = lines::read(io::stdin(), limit).map_err(WorkerError::Stdio)?;
    let (output, mut written) = output::write(io::stdout()).map_err(WorkerError::Stdio)?;
    let session = watch::Sender::new(None);
    let hearing = rt::spawn(hear(app.clone(), session.subscribe(), output.channel()));
    let connection =
        Rc::new(Connection { app, principal, session, output, under_way: UnderWay::new(), mailbox: Arc::default() });
    let is_read = loop {
        let line = tokio::select! {
            line = lines.recv() => match line {
                Some(line) => line,
                None => break true,
            },
            () = signals.come() => break true,
            () = written.closed() => break false,
        };
        // It waits while the output is full, which a client that does not read leaves so for ever.
        tokio::select! {
            () = take(&connection, line) => {}
            () = signals.come() => break true,
            () = written.closed() => break false,
        }
    };
    drop(lines);
    let drain_timeout = connection.app.live.load().drain_timeout;
    tokio::select! {
        () = finish(&connection, is_read, Instant::now() + drain_timeout) => {}
        // Whoever asks twice does not want to wait.
        () = signals.come() => return Ok(Exit::Forced),
    }
    hearing.abort();
    let _ = hearing.await;
    flush(connection, written).await;
    Ok(Exit::Drained)
}

/// Finishes what is under way: streams are told to end, reads have until the deadline, and a write is waited for however long it takes.
/// Without `is_read`, nobody reads what is answered, and reads are of no use.
async fn finish(connection: &Connection, is_read: bool, deadline: Instant) {
    let app = &connection.app;
    // Nobody answers any more.
    connection.mailbox.close();
    app.streams.end();
    app.tasks.leave(Leave::Waiting);
    if !is_read || timeout_at(deadline, done(connection)).await.is_err() {
        if is_read {
            tracing::warn!("What only reads is cut: its time is over (supervisor.drain_timeout_s).");
        }
        app.executor.cut(Cut::Reads);
        app.tasks.leave(Leave::Everything);
        while app.unfinished() > 0 {
            sleep(LOOK).await;
        }
        let _ = timeout_at(Instant::now() + FLUSH, connection.under_way.none()).await;
    }
}

/// Returns when nothing is under way, for the client or by itself.
async fn done(connection: &Connection) {
    connection.under_way.none().await;
    while connection.app.unfinished() > 0 {
        sleep(LOOK).await;
    }
}

/// Waits until the last messages are written.
async fn flush(connection: Rc<Connection>, written: Written) {
    // The thread that writes ends with the last place where messages are put.
    drop(connection);
    let _ = timeout_at(Instant::now() + FLUSH, written.done()).await;
}

/// Tells a legacy client of changes, for as long as it has a session.
async fn hear(app: Data<App>, mut sessions: watch::Receiver<Option<Session>>, channel: mpsc::Sender<Bytes>) {
    loop {
        let session = sessions.borrow_and_update().clone();
        tokio::select! {
            () = overhear_if(&app, session, &channel) => return,
            changed = sessions.changed() => if changed.is_err() { return },
        }
    }
}

async fn overhear_if(app: &Data<App>, session: Option<Session>, channel: &mpsc::Sender<Bytes>) {
    match session {
        Some(session) => overhear(app.clone(), session, channel.clone()).await,
        None => std::future::pending().await,
    }
}

/// What ends the process: a person at a terminal, or who started it.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> Result<Self, WorkerError> {
        let caught = |kind| signal(kind).map_err(WorkerError::Signals);
        Ok(Self { terminate: caught(SignalKind::terminate())?, interrupt: caught(SignalKind::interrupt())? })
    }

    /// Returns when one has come. Cancel-safe.
    async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

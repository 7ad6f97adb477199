//! How a worker takes leave.

use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::rt;
use task_mcp_scoreboard::{Role, SeatState};
use task_mcp_tools::Cut;
use tokio::time::sleep;

use crate::app::App;
use crate::connections::front::Front;
use crate::exchange::tasks::Leave;
use crate::process::Exit;

/// How often a drain looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// How long nobody may come before a worker that drains is idle.
const IDLE_GRACE: Duration = Duration::from_millis(100);
/// How long the accept thread may take to obey.
const ACCEPT_GRACE: Duration = Duration::from_millis(50);
/// After the deadline: for reads to be told, for writes, and for the last bytes. Together they are less than the quarter of a
/// second that the shortest drain has left.
const CUT_READS: Duration = Duration::from_millis(100);
const CUT_WRITES: Duration = Duration::from_millis(50);
const CUT_FLUSH: Duration = Duration::from_millis(50);
/// How long connections without a request may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes leave. For the lame duck's time everything is served, new connections too, while responses say `Connection: close` and
/// readiness fails; a worker nobody needs leaves earlier. Then nothing new is accepted, what is in flight finishes, idle
/// connections are closed, and the deadline cuts what is left, after its callers were told.
pub(crate) async fn drain(front: &Front, handle: &ServerHandle, lame_duck: Duration, deadline: Duration) -> Exit {
    let deadline = Instant::now() + deadline;
    let app = &front.app;
    let seat = &app.seat;
    app.readiness.drain();
    seat.set_state(SeatState::Draining);
    tracing::info!(in_flight = seat.in_flight(), open_connections = seat.open_connections(), "The worker drains.");
    serve_as_lame_duck(app, deadline.min(Instant::now() + lame_duck)).await;

    handle.pause().await;
    // The pause is answered before the accept thread has obeyed it.
    wait_until(deadline, || false, ACCEPT_GRACE).await;
    // A client that has not said yet what it wants is not worth a forced stop.
    app.stop_reading.send_replace(true);
    // Nor is a task that waits for its client: nothing runs meanwhile.
    app.tasks.leave(Leave::Waiting);
    // Streams that stay open end with their last event; who comes back finds another worker. Questions on them fail, because clients
    // may take longer to answer than the drain may take.
    app.streams.end();
    let finished = || seat.in_flight() == 0 && app.unfinished() == 0;
    let mut stopped = None;
    loop {
        if !wait_until(deadline, finished, Duration::MAX).await {
            tracing::warn!(
                in_flight = seat.in_flight(),
                jobs = app.unfinished(),
                "The deadline of the drain is over; what is unfinished is cut (supervisor.drain_timeout_s)."
            );
            cut(front, handle, finished).await;
            return Exit::Forced;
        }
        // Connections of other slots are not the server's: they end first.
        front.adopter.close();
        let adopted_closed = || !finished() || front.adopter.open() == 0;
        wait_until(deadline.min(Instant::now() + CLOSE_TIMEOUT), adopted_closed, Duration::MAX).await;
        // Closes what is idle; the answers that are still on their way out are flushed before their connections close.
        let since = *stopped.get_or_insert_with(|| {
            rt::spawn(handle.stop(true));
            Instant::now()
        });
        let closed = || !finished() || seat.open_connections() == 0;
        wait_until(deadline.min(since + CLOSE_TIMEOUT), closed, Duration::MAX).await;
        if finished() {
            return Exit::Drained;
        }
    }
}

/// Ends what is unfinished: callers are told and streams get their last event, reads first, for a write may be about to be done. What
/// is not flushed then is lost. It all takes less than the supervisor waits before it kills.
async fn cut(front: &Front, handle: &ServerHandle, finished: impl Fn() -> bool) {
    let end = Instant::now() + CUT_READS + CUT_WRITES + CUT_FLUSH;
    let app = &front.app;
    app.executor.cut(Cut::Reads);
    app.tasks.leave(Leave::Everything);
    if !wait_until(end - CUT_WRITES - CUT_FLUSH, &finished, Duration::MAX).await {
        app.executor.cut(Cut::Everything);
        wait_until(end - CUT_FLUSH, &finished, Duration::MAX).await;
    }
    // Whatever is idle now closes once its last bytes are flushed.
    front.adopter.close();
    rt::spawn(handle.stop(true));
    wait_until(end, || app.seat.open_connections() == 0, Duration::MAX).await;
    rt::spawn(handle.stop(false));
}

/// Returns at `end`, or as soon as nobody is connected and nobody has come for a while: to this worker, if a successor serves its
/// slot, and to any worker otherwise, for while others serve on, new connections may still be sent to this one.
async fn serve_as_lame_duck(app: &App, end: Instant) {
    let mut seen = None;
    let mut quiet_since = Instant::now();
    while Instant::now() < end {
        let (open, come) = company(app);
        if seen != Some(come) || open > 0 || app.unfinished() > 0 {
            (seen, quiet_since) = (Some(come), Instant::now());
        } else if quiet_since.elapsed() >= IDLE_GRACE {
            return;
        }
        sleep(DRAIN_POLL).await;
    }
}

/// Connections that concern a worker that takes leave: those open now, and how many there were ever.
fn company(app: &App) -> (u64, u64) {
    if has_successor(app) {
        (app.seat.open_connections(), app.seat.connections())
    } else {
        let all = app.scoreboard.totals();
        (all.open_connections, all.connections)
    }
}

/// Whether a later worker serves the same slot, on the same sockets.
fn has_successor(app: &App) -> bool {
    let (slot, generation) = (app.seat.slot(), app.seat.generation());
    (0..app.scoreboard.seats()).filter_map(|index| app.scoreboard.seat(index)).any(|seat| {
        seat.role() == Some(Role::Worker)
            && seat.state() == SeatState::Live
            && seat.slot() == slot
            && seat.generation() > generation
    })
}

/// Waits until `done` says so; whether it did before `deadline` or `patience` was over.
async fn wait_until(deadline: Instant, done: impl Fn() -> bool, patience: Duration) -> bool {
    let started = Instant::now();
    while !done() {
        if Instant::now() >= deadline || started.elapsed() >= patience {
            return false;
        }
        sleep(DRAIN_POLL).await;
    }
    true
}

//! The loops, closed and open.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep_until};

use crate::{
    connection::Connection,
    error::Error,
    outcome::{Failure, Freshness, Mishap, Outcome},
    plan::{Pace, Plan, Reuse},
    report::Report,
};

/// Carries out a plan on the calling thread and blocks until it ends.
pub fn run(plan: &Plan) -> Result<Report, Error> {
    plan.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    runtime.block_on(drive(plan))
}

async fn drive(plan: &Plan) -> Result<Report, Error> {
    let started = Instant::now();
    let shared = Arc::new(Shared::new(plan, started)?);
    let mut lanes = JoinSet::new();
    for _ in 0..plan.connections {
        let lane = Lane { shared: Arc::clone(&shared), connection: None };
        lanes.spawn(lane.drive());
    }
    while let Some(lane) = lanes.join_next().await {
        lane.map_err(Error::Lost)?;
    }
    let mut report = shared.report().clone();
    report.elapsed = started.elapsed();
    report.unsent = shared.due().saturating_sub(report.total());
    Ok(report)
}

/// What all lanes of a run see.
struct Shared {
    plan: Plan,
    /// Each request of the plan as bytes.
    wire: Vec<Vec<u8>>,
    started: Instant,
    /// Number of the next request; taken by the lane that will send it.
    next: AtomicU64,
    /// Written by all lanes, which share one thread: nobody ever waits for it.
    report: Mutex<Report>,
}

impl Shared {
    fn new(plan: &Plan, started: Instant) -> Result<Self, Error> {
        let authority = plan.address.to_string();
        let keep_alive = plan.reuse == Reuse::KeepAlive;
        let wire = plan.requests.iter().map(|request| request.to_bytes(&authority, keep_alive)).collect();
        let report = Mutex::new(Report::new()?);
        Ok(Self { plan: plan.clone(), wire, started, next: AtomicU64::new(0), report })
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, sent: Mishap, due: Instant) {
        let mut report = self.report();
        report.record(sent.outcome, sent.freshness, due.elapsed());
        if sent.outcome != Outcome::Ok {
            report.record_mishap(sent);
        }
        self.plan.control.count();
    }

    /// Requests of an open loop that were due before the run ended; 0 for a closed one.
    fn due(&self) -> u64 {
        let Pace::Open { per_s } = self.plan.pace else { return 0 };
        let stopped = self.plan.control.stopped_at().map(|at| at.saturating_duration_since(self.started));
        let end = stopped.map_or(self.plan.max_duration, |stopped| stopped.min(self.plan.max_duration));
        // The first is due at once. A rate of 10^6 for years still fits.
        ((end.as_secs_f64() * per_s).ceil() as u64).min(self.plan.max_requests)
    }

    /// The next request's number and the moment it is due; `None` when the run is over.
    fn take(&self) -> Option<(u64, Instant)> {
        if self.plan.control.is_stopped() || self.started.elapsed() >= self.plan.max_duration {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let offset = match self.plan.pace {
            Pace::Closed => self.started.elapsed(),
            Pace::Open { per_s } => Duration::from_secs_f64(number as f64 / per_s),
        };
        (number < self.plan.max_requests && offset < self.plan.max_duration).then(|| (number, self.started + offset))
    }

    fn bytes(&self, number: u64) -> &[u8] {
        let at = number % (self.wire.len() as u64).max(1);
        self.wire.get(at as usize).map(Vec::as_slice).unwrap_or_default()
    }
}

/// One request at a time over one connection at a time.
struct Lane {
    shared: Arc<Shared>,
    connection: Option<Connection>,
}

impl Lane {
    async fn drive(mut self) {
        while let Some((number, due)) = self.shared.take() {
            sleep_until(due.into()).await;
            if self.shared.plan.control.is_stopped() {
                break;
            }
            self.shared.report().record_lag(due.elapsed());
            let sent = self.send(number).await;
            self.shared.note(sent, due);
            // A server that answers or refuses at once would otherwise keep this lane from ever yielding.
            tokio::task::yield_now().await;
        }
    }

    /// What became of one request, good or bad.
    async fn send(&mut self, number: u64) -> Mishap {
        let shared = Arc::clone(&self.shared);
        let ended = |outcome, freshness, local_port, sent| Mishap {
            outcome,
            freshness,
            local_port,
            sent,
            ended: Instant::now(),
        };
        let mut connection = match self.reuse_or_open().await {
            Ok(connection) => connection,
            Err(failure) => return ended(failure.outcome, Freshness::Fresh, None, None),
        };
        let (freshness, port) = (connection.freshness(), Some(connection.local_port()));
        let exchanged = connection.exchange(shared.bytes(number), shared.plan.timeout).await;
        let outcome = exchanged.as_ref().map(|answer| {
            let mut report = shared.report();
            report.announced_closes += u64::from(answer.closes);
            report.record_status(answer.status);
            judge(answer.status, answer.body, shared.plan.expect.as_deref())
        });
        let outcome = outcome.map_err(|failure| failure.outcome);
        let done = ended(outcome.unwrap_or_else(|failed| failed), freshness, port, connection.sent());
        if outcome.is_ok() && shared.plan.reuse == Reuse::KeepAlive {
            self.connection = Some(connection);
        }
        done
    }

    async fn reuse_or_open(&mut self) -> Result<Connection, Failure> {
        if let Some(connection) = self.connection.take().filter(Connection::is_reusable) {
            return Ok(connection);
        }
        let opened = Connection::open(self.shared.plan.address, self.shared.plan.timeout).await?;
        self.shared.report().connections_opened += 1;
        Ok(opened)
    }
}

fn judge(status: u16, body: &[u8], expect: Option<&str>) -> Outcome {
    if !(200..300).contains(&status) {
        return Outcome::HttpError;
    }
    match expect {
        Some(text) if !contains(body, text.as_bytes()) => Outcome::Unexpected,
        _ => Outcome::Ok,
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

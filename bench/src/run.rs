//! The loops, closed and open.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep_until};

use crate::{
    connection::Connection,
    error::Error,
    outcome::{Failure, Freshness, Outcome},
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
    let shared = Arc::new(Shared::new(plan, started));
    let mut lanes = JoinSet::new();
    for _ in 0..plan.connections {
        let lane = Lane { shared: Arc::clone(&shared), connection: None, report: Report::new()? };
        lanes.spawn(lane.drive());
    }
    let mut report = Report::new()?;
    while let Some(lane) = lanes.join_next().await {
        report.merge(&lane.map_err(Error::Lost)?);
    }
    report.elapsed = started.elapsed();
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
}

impl Shared {
    fn new(plan: &Plan, started: Instant) -> Self {
        let authority = plan.address.to_string();
        let keep_alive = plan.reuse == Reuse::KeepAlive;
        let wire = plan.requests.iter().map(|request| request.to_bytes(&authority, keep_alive)).collect();
        Self { plan: plan.clone(), wire, started, next: AtomicU64::new(0) }
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
    report: Report,
}

impl Lane {
    async fn drive(mut self) -> Report {
        while let Some((number, due)) = self.shared.take() {
            sleep_until(due.into()).await;
            if self.shared.plan.control.is_stopped() {
                break;
            }
            let (outcome, freshness) = self.send(number).await;
            self.report.record(outcome, freshness, due.elapsed());
            self.shared.plan.control.count();
            // A server that answers or refuses at once would otherwise keep this lane from ever yielding.
            tokio::task::yield_now().await;
        }
        self.report
    }

    async fn send(&mut self, number: u64) -> (Outcome, Freshness) {
        let shared = Arc::clone(&self.shared);
        let mut connection = match self.reuse_or_open().await {
            Ok(connection) => connection,
            Err(failure) => return (failure.outcome, Freshness::Fresh),
        };
        let freshness = connection.freshness();
        let outcome = match connection.exchange(shared.bytes(number), shared.plan.timeout).await {
            Ok(answer) => {
                self.report.announced_closes += u64::from(answer.closes);
                self.report.record_status(answer.status);
                judge(answer.status, answer.body, shared.plan.expect.as_deref())
            }
            Err(failure) => return (failure.outcome, freshness),
        };
        if shared.plan.reuse == Reuse::KeepAlive {
            self.connection = Some(connection);
        }
        (outcome, freshness)
    }

    async fn reuse_or_open(&mut self) -> Result<Connection, Failure> {
        if let Some(connection) = self.connection.take().filter(Connection::is_reusable) {
            return Ok(connection);
        }
        let opened = Connection::open(self.shared.plan.address, self.shared.plan.timeout).await?;
        self.report.connections_opened += 1;
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

//! The task that makes a connection, watches it, and makes it anew.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use task_mcp_telemetry::RedisMetrics;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    backoff::Backoff,
    breaker::{Breaker, BreakerState, Fault, Transition},
    connection::Connection,
    find::Finder,
    identity::ServerId,
};

/// How often a connection is asked whether it is alive and its server still a master, whether it is used or not.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);

/// How often the sentinels are asked whether they still name the same master.
pub(crate) const RELOCATE: Duration = Duration::from_secs(5);

/// What became of the connection.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// It is being made, and nothing has gone wrong with it yet.
    Connecting,
    /// It can be used.
    Up(Arc<Connection>),
    /// It could not be made. It is tried again.
    Down { reason: Arc<str>, since: Instant },
}

/// What the keeper and those who ask share.
pub(crate) struct Shared {
    pub(crate) finder: Arc<Finder>,
    pub(crate) purpose: &'static str,
    pub(crate) metrics: RedisMetrics,
    pub(crate) link: watch::Sender<Link>,
    breaker: Mutex<Breaker>,
}

impl Shared {
    pub(crate) fn new(finder: Finder, purpose: &'static str, metrics: RedisMetrics, failures: u32) -> Self {
        metrics.breaker_open.set(0);
        Self {
            finder: Arc::new(finder),
            purpose,
            metrics,
            link: watch::Sender::new(Link::Connecting),
            breaker: Mutex::new(Breaker::new(failures)),
        }
    }

    /// Asks or tells the breaker something. What it changes to is logged and counted here, and nowhere else.
    pub(crate) fn breaker<T>(&self, act: impl FnOnce(&mut Breaker) -> T) -> T {
        act(&mut self.breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something begun at `began` failed. Whether the breaker is open now: what probes it is a new connection, so whoever holds
    /// one gives it up.
    pub(crate) fn failed(&self, began: Instant, fault: Fault, reason: &str) -> bool {
        let (transition, state) =
            self.breaker(|breaker| (breaker.failed(began, Instant::now(), fault), breaker.state()));
        if let Some(Transition::Opened { failures }) = transition {
            self.metrics.breaker_open.set(1);
            tracing::warn!(
                purpose = self.purpose,
                failures,
                reason,
                "Redis failed; it is left alone until a probe succeeds."
            );
        }
        state == BreakerState::Open
    }

    /// The breaker closed, perhaps.
    pub(crate) fn closed(&self, transition: Option<Transition>) {
        if transition == Some(Transition::Closed) {
            self.metrics.breaker_open.set(0);
            tracing::info!(purpose = self.purpose, "Redis is well again; it is asked again.");
        }
    }
}

/// Makes the connection, watches it, and makes it anew, for ever.
pub(crate) async fn keep(shared: Arc<Shared>, mut backoff: Backoff) {
    let mut last_server = None;
    loop {
        let began = Instant::now();
        match shared.finder.master(None).await {
            Ok(connection) => {
                shared.metrics.connects.add(1);
                announce(shared.purpose, &connection, &mut last_server);
                let connection = Arc::new(connection);
                shared.link.send_replace(Link::Up(Arc::clone(&connection)));
                shared.closed(shared.breaker(Breaker::connected));
                let reason = watch_over(&shared, &connection, &mut backoff).await;
                tracing::debug!(
                    purpose = shared.purpose,
                    place = %connection.place,
                    reason,
                    "The connection to Redis is given up."
                );
                shared.link.send_replace(Link::Connecting);
            }
            Err(error) => {
                let reason = error.to_string();
                shared.failed(began, Fault::Unreachable, &reason);
                shared.link.send_modify(|link| {
                    let since = match link {
                        Link::Down { since, .. } => *since,
                        Link::Connecting | Link::Up(_) => began,
                    };
                    *link = Link::Down { reason: reason.into(), since };
                });
            }
        }
        sleep(backoff.next()).await;
    }
}

/// Waits until a connection must not be used any more, and says why.
async fn watch_over(shared: &Shared, connection: &Connection, backoff: &mut Backoff) -> &'static str {
    let limit = shared.finder.step_limit();
    let (mut beat, mut relocate) = (interval(HEARTBEAT), interval(RELOCATE));
    for timer in [&mut beat, &mut relocate] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, and the handshake has just been answered.
        timer.tick().await;
    }
    let beating = async {
        loop {
            beat.tick().await;
            match connection.beats(limit).await {
                // It lives: its next loss is a new one, and is looked after without delay.
                Ok(()) => backoff.reset(),
                Err(reason) => return reason,
            }
            shared.closed(shared.breaker(Breaker::idle));
        }
    };
    let locating = async {
        loop {
            relocate.tick().await;
            if shared.finder.is_replaced(&connection.place).await {
                return "the sentinels name another master";
            }
        }
    };
    tokio::select! {
        reason = connection.ended() => reason,
        reason = beating => reason,
        reason = locating => reason,
    }
}

/// One line when the server is another one than before: the first, a restarted one, or another master.
fn announce(purpose: &str, connection: &Connection, last: &mut Option<ServerId>) {
    if *last != Some(connection.server) {
        let (place, server) = (&connection.place, connection.server.0);
        let seen_before = last.is_some();
        tracing::info!(purpose, %place, server = format_args!("{server:016x}"), seen_before, "Connected to Redis.");
        *last = Some(connection.server);
    }
}

//! What a run does, and its limits.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{error::Error, request::Request};

/// Connections one run may use; above it the generator, not the server, is what is measured.
const CONNECTIONS_MAX: usize = 4096;

/// A run: what is sent, over how many connections, how fast, and when it ends.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to connect.
    pub address: SocketAddr,
    /// Requests, sent in turn; at least one.
    pub requests: Vec<Request>,
    /// Requests that may be under way at once, 1 to 4096.
    pub connections: usize,
    /// When the next request leaves.
    pub pace: Pace,
    /// Whether connections are kept.
    pub reuse: Reuse,
    /// The run ends after this many requests.
    pub max_requests: u64,
    /// No request leaves later than this after the start.
    pub max_duration: Duration,
    /// Limit for connecting and for answering, each.
    pub timeout: Duration,
    /// Text that a good answer contains; MCP errors travel inside status 200.
    pub expect: Option<String>,
    /// Watches and ends the run from another thread.
    pub control: Control,
}

/// When the next request leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each connection sends as soon as its last answer is complete.
    Closed,
    /// Requests are due at a fixed rate, whatever the server does. Latency counts from the moment a request
    /// was due, so that a stall costs every request it delays; a request that no connection was free for before the
    /// run ended is counted as unsent. The timer's grain is one millisecond: what is due within it leaves together.
    Open {
        /// Requests due in a second, over all connections.
        per_s: f64,
    },
}

/// Whether connections are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// A connection carries requests until the server closes it.
    KeepAlive,
    /// Every request has a connection of its own.
    OnePerRequest,
}

/// A run seen from another thread. Clones belong to the same run; a second run needs one of its own.
#[derive(Debug, Clone, Default)]
pub struct Control {
    stopped: Arc<OnceLock<Instant>>,
    finished: Arc<AtomicU64>,
}

impl Plan {
    /// A closed loop over kept-alive connections that ends after 10 s or a million requests, with 10 s for an answer.
    pub fn new(address: SocketAddr, request: Request) -> Self {
        Self {
            address,
            requests: vec![request],
            connections: 8,
            pace: Pace::Closed,
            reuse: Reuse::KeepAlive,
            max_requests: 1_000_000,
            max_duration: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            expect: None,
            control: Control::default(),
        }
    }

    /// Refuses a plan that cannot be run.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let bad = |field, value: String, limit| Err(Error::Plan { field, value, limit });
        if self.requests.is_empty() {
            return bad("requests", "empty".to_owned(), "one request or more");
        }
        if self.connections == 0 || self.connections > CONNECTIONS_MAX {
            return bad("connections", self.connections.to_string(), "1 to 4096");
        }
        if let Pace::Open { per_s } = self.pace
            && !(per_s.is_finite() && (0.001..=1e6).contains(&per_s))
        {
            return bad("pace.per_s", per_s.to_string(), "0.001 to 1000000");
        }
        Ok(())
    }
}

impl Control {
    /// Ends the run: requests under way are completed, no other leaves.
    pub fn stop(&self) {
        self.stopped.get_or_init(Instant::now);
    }

    /// Requests whose outcome is known so far.
    pub fn finished(&self) -> u64 {
        // Relaxed is enough: it orders nothing else.
        self.finished.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped_at().is_some()
    }

    pub(crate) fn stopped_at(&self) -> Option<Instant> {
        self.stopped.get().copied()
    }

    pub(crate) fn count(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }
}

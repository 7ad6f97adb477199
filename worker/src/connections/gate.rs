//! Who is let in.
//!
//! An address has a limit over all workers, which always refuses. All connections have one that is divided over the workers: at
//! its share a worker closes the connection that has been idle longest, and only if none is idle the new one is refused.
//! Which is idle is asked of all connections, and only at the limit: a request costs no bookkeeping in an order.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use task_mcp_scoreboard::{AddressKey, AddressRow, Commons, Held, ScoreboardError, Seat, monotonic_ms, monotonic_us};
use task_mcp_telemetry::LimitMetrics;

use super::entry::Entry;
use super::limits::ConnectionLimits;

/// How often the log says that connections are refused, in milliseconds.
const COMPLAIN_EVERY_MS: u64 = 60_000;

/// The open connections of this worker. One for each worker.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: ConnectionLimits,
    seat: Seat,
    metrics: LimitMetrics,
    open: Mutex<Open>,
    complained_ms: AtomicU64,
}

#[derive(Debug)]
struct Open {
    row: AddressRow,
    entries: HashMap<u64, Arc<Entry>>,
    next: u64,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its address has as many as it may have.
    Address,
    /// The worker has its share, and all of them are busy.
    Full,
}

/// A connection that was let in, until it ends.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    number: u64,
    entry: Arc<Entry>,
    /// `None` once it was given back.
    held: Option<Held>,
}

impl Gate {
    /// The gate of the process with this seat.
    ///
    /// # Errors
    /// No memory for a worker that finds no row in the commons.
    pub(crate) fn new(
        limits: ConnectionLimits,
        seat: &Seat,
        commons: &Commons,
        metrics: LimitMetrics,
    ) -> Result<Arc<Self>, ScoreboardError> {
        let row = match commons.addresses().claim(std::process::id()) {
            Some(row) => row,
            None => {
                tracing::warn!(
                    "No row is left for the addresses of this worker's clients; limits.max_connections_per_ip holds for it alone."
                );
                let alone = Commons::create()?.addresses().claim(std::process::id());
                alone.ok_or(ScoreboardError::Magic { expected: "an empty row" })?
            }
        };
        let open = Mutex::new(Open { row, entries: HashMap::new(), next: 0 });
        Ok(Arc::new(Self { limits, seat: seat.clone(), metrics, open, complained_ms: AtomicU64::new(0) }))
    }

    pub(crate) fn limits(&self) -> ConnectionLimits {
        self.limits
    }

    pub(crate) fn metrics(&self) -> &LimitMetrics {
        &self.metrics
    }

    /// Lets a connection in, or says why not.
    pub(crate) fn admit(self: &Arc<Self>, client: IpAddr) -> Result<Pass, Refused> {
        let mut open = self.open();
        let Some(held) = open.row.open(AddressKey::of(client), self.limits.most_per_address) else {
            drop(open);
            self.metrics.refused_address.add(1);
            self.complain("an address has as many as it may have (limits.max_connections_per_ip)");
            return Err(Refused::Address);
        };
        if !self.has_room(&open.entries) {
            open.row.close(held);
            drop(open);
            self.metrics.refused_full.add(1);
            self.complain("all are busy (limits.max_connections)");
            return Err(Refused::Full);
        }
        let (number, entry) = (open.next, Arc::new(Entry::new()));
        open.next += 1;
        open.entries.insert(number, Arc::clone(&entry));
        self.seat.connection_opened();
        Ok(Pass { gate: Arc::clone(self), number, entry, held: Some(held) })
    }

    /// Whether one more is within the share; closes those idle longest if that makes it so.
    fn has_room(&self, entries: &HashMap<u64, Arc<Entry>>) -> bool {
        if entries.len() < self.limits.most {
            return true;
        }
        // Those that are closing and serve nothing are as good as gone; one that got a request just before it was closed is not.
        let staying = entries.values().filter(|entry| entry.is_busy() || !entry.is_closing()).count();
        let too_many = (staying + 1).saturating_sub(self.limits.most);
        let now_us = monotonic_us();
        let mut idle: Vec<_> =
            entries.values().filter_map(|entry| Some((entry.idle_since_us(now_us)?, entry))).collect();
        if idle.len() < too_many {
            return false;
        }
        idle.sort_by_key(|(since_us, _)| *since_us);
        for (_, longest) in idle.iter().take(too_many) {
            longest.close();
            self.metrics.closed_for_room.add(1);
        }
        true
    }

    /// What is open now.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.open().entries.values().cloned().collect()
    }

    fn complain(&self, reason: &str) {
        let now_ms = monotonic_ms();
        let last_ms = self.complained_ms.load(Ordering::Relaxed);
        if last_ms == 0 || now_ms.saturating_sub(last_ms) >= COMPLAIN_EVERY_MS {
            self.complained_ms.store(now_ms, Ordering::Relaxed);
            tracing::warn!(reason, "Connections are refused.");
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut open = self.gate.open();
        open.entries.remove(&self.number);
        if let Some(held) = self.held.take() {
            open.row.close(held);
        }
        self.gate.seat.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::task::{Context, Waker};
    use std::time::Duration;

    use task_mcp_scoreboard::{Plan, Scoreboard};
    use task_mcp_telemetry::Metrics;

    use super::*;

    const SILENT: Duration = Duration::from_secs(1);

    fn gate(commons: &Commons, most: usize, most_per_address: u64) -> Arc<Gate> {
        let scoreboard = Scoreboard::create(&Plan { seats: 1, series: task_mcp_telemetry::plan(&[], &[]) }).unwrap();
        let seat = scoreboard.seat(0).unwrap();
        let metrics = Metrics::bind(&scoreboard, &seat, &[], &[]).unwrap().limits;
        let limits = ConnectionLimits {
            keep_alive: SILENT,
            headers_timeout: SILENT,
            disconnect_timeout: SILENT,
            idle_timeout: SILENT,
            most,
            most_per_address,
        };
        Gate::new(limits, &seat, commons, metrics).unwrap()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// It has had a request and its answer.
    fn served(pass: &Pass) {
        let entry = pass.entry();
        entry.request_began();
        entry.answer_began();
        entry.answer_ended();
        entry.read_up(&Context::from_waker(Waker::noop()));
    }

    #[test]
    fn an_address_at_its_limit_is_refused_even_if_others_are_idle() {
        let gate = gate(&Commons::create().unwrap(), 10, 2);
        let passes: Vec<_> = (0..2).map(|_| gate.admit(address(1)).unwrap()).collect();
        passes.iter().for_each(served);
        assert_eq!(gate.admit(address(1)).unwrap_err(), Refused::Address);
        assert!(gate.admit(address(2)).is_ok());
        assert!(passes.iter().all(|pass| !pass.entry().is_closing()));
        drop(passes);
        assert!(gate.admit(address(1)).is_ok());
        assert_eq!(gate.seat.open_connections(), 0);
    }

    #[test]
    fn the_one_idle_longest_makes_room_and_busy_ones_never_do() {
        let gate = gate(&Commons::create().unwrap(), 3, 10);
        let [busy, long_idle, idle] = [0; 3].map(|_| gate.admit(address(1)).unwrap());
        busy.entry().request_began();
        served(&long_idle);
        let then_us = monotonic_us();
        while monotonic_us() == then_us {}
        served(&idle);
        let fourth = gate.admit(address(2)).unwrap();
        let closing = |passes: [&Pass; 3]| passes.map(|pass| pass.entry().is_closing());
        assert_eq!(closing([&busy, &long_idle, &idle]), [false, true, false]);
        let fifth = gate.admit(address(2)).unwrap();
        assert_eq!(closing([&busy, &long_idle, &idle]), [false, true, true]);
        assert_eq!(gate.admit(address(2)).unwrap_err(), Refused::Full, "who has just come is not idle yet");
        assert!(gate.open().row.open(AddressKey::of(address(2)), 2).is_none(), "a connection refused does not count");
        assert!(gate.open().row.open(AddressKey::of(address(2)), 3).is_some(), "and those let in do");
        drop((busy, fourth, fifth));
        assert!(gate.admit(address(2)).is_ok());
    }

    #[test]
    fn one_that_is_closing_and_got_a_request_at_the_last_moment_counts() {
        let gate = gate(&Commons::create().unwrap(), 1, 10);
        let first = gate.admit(address(1)).unwrap();
        served(&first);
        let second = gate.admit(address(1)).unwrap();
        first.entry().request_began();
        served(&second);
        assert_eq!(gate.admit(address(1)).unwrap_err(), Refused::Full);
        assert!(!second.entry().is_closing(), "it would not make room enough");
    }
}

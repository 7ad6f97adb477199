//! The row of one process.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::Kind;
use crate::board::Inner;
use crate::layout::fixed;
use crate::series::{Counter, Gauge, Histogram};

/// The row of one process. The process writes it; the supervisor reads it, and writes it once the process was reaped.
/// Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Seat {
    pub(crate) inner: Arc<Inner>,
    pub(crate) base: usize,
}

/// Where a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum SeatState {
    /// No process has used the seat yet.
    Empty = 0,
    /// The process runs and is not ready.
    Starting = 1,
    /// The process serves.
    Live = 2,
    /// The process finishes what it has and takes nothing new.
    Draining = 3,
    /// The process was reaped; counters remain.
    Exited = 4,
}

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Role {
    /// Serves the public port.
    Worker = 1,
    /// Serves the admin listener and keeps house.
    Admin = 2,
    /// Owns the other processes.
    Supervisor = 3,
}

/// What a reaped process left unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retired {
    /// Requests it was serving.
    pub in_flight: u64,
    /// Streams it had open.
    pub open_streams: u64,
    /// Connections it had open.
    pub open_connections: u64,
}

impl Seat {
    /// Takes the seat: the process calls it first of all. `now_ms` is on the monotonic clock that heartbeats use.
    pub fn begin(&self, pid: u32, slot: u16, generation: u64, role: Role, now_ms: u64) {
        self.set(fixed::PID, u64::from(pid));
        self.set(fixed::SLOT, u64::from(slot));
        self.set(fixed::GENERATION, generation);
        self.set(fixed::ROLE, role as u64);
        self.set(fixed::STARTED_MS, now_ms);
        self.set(fixed::HEARTBEAT_MS, now_ms);
        self.set(fixed::TID, 0);
        self.set(fixed::REQUESTS_BEFORE, self.requests());
        // Publishes the words above: whoever sees the state sees them too.
        self.set_state(SeatState::Starting);
    }

    /// Process id, 0 before the first process.
    pub fn pid(&self) -> u32 {
        self.get(fixed::PID) as u32
    }

    /// The slot its process serves.
    pub fn slot(&self) -> u16 {
        self.get(fixed::SLOT) as u16
    }

    /// The generation of its process.
    pub fn generation(&self) -> u64 {
        self.get(fixed::GENERATION)
    }

    /// What its process is for; `None` before the first process.
    pub fn role(&self) -> Option<Role> {
        [Role::Worker, Role::Admin, Role::Supervisor].into_iter().find(|role| *role as u64 == self.get(fixed::ROLE))
    }

    /// When its process took the seat, in milliseconds on the monotonic clock.
    pub fn started_ms(&self) -> u64 {
        self.get(fixed::STARTED_MS)
    }

    /// Says which thread of the process serves: the one that beats calls it, with its thread id (gettid(2)), before its first
    /// heartbeat.
    pub fn served_by(&self, tid: u32) {
        self.set(fixed::TID, u64::from(tid));
    }

    /// The thread that serves; `None` before it said so, and for a process of a version that did not say.
    pub fn tid(&self) -> Option<u32> {
        u32::try_from(self.get(fixed::TID)).ok().filter(|tid| *tid > 0)
    }

    /// Says that the serving thread runs, in milliseconds on the monotonic clock.
    pub fn heartbeat(&self, now_ms: u64) {
        self.set(fixed::HEARTBEAT_MS, now_ms);
    }

    /// The last heartbeat, in milliseconds on the monotonic clock.
    pub fn heartbeat_ms(&self) -> u64 {
        self.get(fixed::HEARTBEAT_MS)
    }

    /// Where the process is in its life. An unknown number counts as `Empty`.
    pub fn state(&self) -> SeatState {
        let found = self.inner.region.word(self.base + fixed::STATE).map_or(0, |word| word.load(Ordering::Acquire));
        [SeatState::Starting, SeatState::Live, SeatState::Draining, SeatState::Exited]
            .into_iter()
            .find(|state| *state as u64 == found)
            .unwrap_or(SeatState::Empty)
    }

    /// Writes the state.
    pub fn set_state(&self, state: SeatState) {
        if let Some(word) = self.inner.region.word(self.base + fixed::STATE) {
            word.store(state as u64, Ordering::Release);
        }
    }

    /// A request was accepted: counts it and takes it in flight. Before any work is done for it.
    pub fn request_started(&self) {
        self.add(fixed::IN_FLIGHT, 1);
        self.add(fixed::REQUESTS, 1);
    }

    /// The request was answered in full or given up by its client.
    pub fn request_finished(&self) {
        self.add(fixed::IN_FLIGHT, MINUS_ONE);
    }

    /// Requests being served.
    pub fn in_flight(&self) -> u64 {
        self.present(fixed::IN_FLIGHT)
    }

    /// Requests accepted by all processes that had this seat.
    pub fn requests(&self) -> u64 {
        self.get(fixed::REQUESTS)
    }

    /// Requests accepted by the present process.
    pub fn own_requests(&self) -> u64 {
        self.requests().saturating_sub(self.get(fixed::REQUESTS_BEFORE))
    }

    /// A stream was opened.
    pub fn stream_opened(&self) {
        self.add(fixed::OPEN_STREAMS, 1);
        self.add(fixed::STREAMS, 1);
    }

    /// A stream ended.
    pub fn stream_closed(&self) {
        self.add(fixed::OPEN_STREAMS, MINUS_ONE);
    }

    /// Streams open now.
    pub fn open_streams(&self) -> u64 {
        self.present(fixed::OPEN_STREAMS)
    }

    /// Streams opened by all processes that had this seat.
    pub fn streams(&self) -> u64 {
        self.get(fixed::STREAMS)
    }

    /// A connection was accepted.
    pub fn connection_opened(&self) {
        self.add(fixed::OPEN_CONNECTIONS, 1);
        self.add(fixed::CONNECTIONS, 1);
    }

    /// A connection was closed.
    pub fn connection_closed(&self) {
        self.add(fixed::OPEN_CONNECTIONS, MINUS_ONE);
    }

    /// Connections open now.
    pub fn open_connections(&self) -> u64 {
        self.present(fixed::OPEN_CONNECTIONS)
    }

    /// Connections accepted by all processes that had this seat.
    pub fn connections(&self) -> u64 {
        self.get(fixed::CONNECTIONS)
    }

    /// A handle on a counter or a time; `None` if the index is unknown or of another kind.
    pub fn counter(&self, series: usize) -> Option<Counter> {
        let (cell, kind) = self.cell(series)?;
        matches!(kind, Kind::Counter | Kind::Time).then(|| Counter { inner: Arc::clone(&self.inner), cell })
    }

    /// A handle on a gauge; `None` if the index is unknown or of another kind.
    pub fn gauge(&self, series: usize) -> Option<Gauge> {
        let (cell, kind) = self.cell(series)?;
        matches!(kind, Kind::Gauge).then(|| Gauge { inner: Arc::clone(&self.inner), cell })
    }

    /// A handle on a histogram; `None` if the index is unknown or of another kind.
    pub fn histogram(&self, series: usize) -> Option<Histogram> {
        let (cell, kind) = self.cell(series)?;
        match kind {
            Kind::Histogram { bounds_ns } => {
                Some(Histogram { inner: Arc::clone(&self.inner), cell, bounds_ns: bounds_ns.as_slice().into() })
            }
            Kind::Counter | Kind::Time | Kind::Gauge => None,
        }
    }

    /// Ends the seat's process on the scoreboard: tells what it left unfinished and zeroes every present quantity, so that
    /// the next process starts clean. Counters stay. Only the supervisor calls it, and only after it reaped the process.
    pub fn retire(&self) -> Retired {
        let take = |word| clamp(self.inner.region.take(self.base + word));
        let retired = Retired {
            in_flight: take(fixed::IN_FLIGHT),
            open_streams: take(fixed::OPEN_STREAMS),
            open_connections: take(fixed::OPEN_CONNECTIONS),
        };
        for (series, cell) in self.inner.series.iter().zip(&self.inner.layout.cells) {
            if matches!(series.kind, Kind::Gauge) {
                self.inner.region.set(self.base + cell, 0);
            }
        }
        self.set_state(SeatState::Exited);
        retired
    }

    fn cell(&self, series: usize) -> Option<(usize, &Kind)> {
        let cell = *self.inner.layout.cells.get(series)?;
        Some((self.base + cell, &self.inner.series.get(series)?.kind))
    }

    fn get(&self, word: usize) -> u64 {
        self.inner.region.get(self.base + word)
    }

    fn set(&self, word: usize, value: u64) {
        self.inner.region.set(self.base + word, value);
    }

    fn add(&self, word: usize, value: u64) {
        self.inner.region.add(self.base + word, value);
    }

    fn present(&self, word: usize) -> u64 {
        clamp(self.get(word))
    }
}

/// Added with wrap-around.
const MINUS_ONE: u64 = u64::MAX;

/// A present quantity is never negative: a reader between two relaxed writes of different threads sees 0, not 2^64 - 1.
fn clamp(word: u64) -> u64 {
    (word as i64).max(0) as u64
}

//! The scoreboard as a whole.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::layout::{HEADER_WORDS, Layout, MAGIC, OLDEST_VERSION, VERSION, WORD_BYTES, header};
use crate::memory::Region;
use crate::plan::{MAX_DIRECTORY_BYTES, limit};
use crate::series::Sample;
use crate::{Kind, Plan, Role, ScoreboardError, Seat, SeatState, Series};

/// A mapped scoreboard. Cloning is cheap and shares the mapping.
#[derive(Debug, Clone)]
pub struct Scoreboard {
    pub(crate) inner: Arc<Inner>,
}

/// What seats and handles share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) region: Region,
    pub(crate) layout: Layout,
    pub(crate) series: Vec<Series>,
}

/// Sums over the fixed words of all seats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests being served now.
    pub in_flight: u64,
    /// Streams open now.
    pub open_streams: u64,
    /// Connections open now.
    pub open_connections: u64,
    /// Requests accepted since the instance started.
    pub requests: u64,
    /// Streams opened since the instance started.
    pub streams: u64,
    /// Connections accepted since the instance started.
    pub connections: u64,
    /// Workers that said they are live.
    pub live: u64,
}

impl Scoreboard {
    /// Makes a scoreboard for a plan. It is private until its descriptor is handed to another process.
    ///
    /// # Errors
    /// A plan over the limits of this crate, doubled or malformed series, or no memory.
    pub fn create(plan: &Plan) -> Result<Self, ScoreboardError> {
        let directory = serde_json::to_vec(&plan.series)?;
        let layout = Layout::new(u64::from(plan.seats), &plan.series, directory.len() as u64)?;
        let region = Region::create("task-mcp-scoreboard", layout.total_words)?;
        for (at, bytes) in directory.chunks(WORD_BYTES as usize).enumerate() {
            let mut word = [0; WORD_BYTES as usize];
            for (to, from) in word.iter_mut().zip(bytes) {
                *to = *from;
            }
            region.set(HEADER_WORDS as usize + at, u64::from_le_bytes(word));
        }
        region.set(header::VERSION, VERSION);
        region.set(header::TOTAL_WORDS, layout.total_words);
        region.set(header::SEATS, u64::from(layout.seats));
        region.set(header::SEAT_WORDS, layout.seat_words);
        region.set(header::FIRST_SEAT, layout.first_seat);
        region.set(header::DIRECTORY_BYTES, directory.len() as u64);
        region.set(header::MAGIC, MAGIC);
        Ok(Self { inner: Arc::new(Inner { region, layout, series: plan.series.clone() }) })
    }

    /// Takes over a scoreboard that another process made, perhaps of the program before this one.
    ///
    /// # Errors
    /// A descriptor that is no sealed memfd, another magic, a version that is neither this one nor the one before, or
    /// numbers that contradict each other.
    pub fn open(fd: OwnedFd) -> Result<Self, ScoreboardError> {
        let region = Region::open(fd)?;
        if region.len() < HEADER_WORDS || region.get(header::MAGIC) != MAGIC {
            return Err(ScoreboardError::Magic { expected: "a scoreboard" });
        }
        let found = region.get(header::VERSION);
        if !(OLDEST_VERSION..=VERSION).contains(&found) {
            return Err(ScoreboardError::Version { found, known: VERSION });
        }
        let directory_bytes = region.get(header::DIRECTORY_BYTES);
        limit("bytes of the directory of metric series", directory_bytes, MAX_DIRECTORY_BYTES)?;
        let room = (region.len() - HEADER_WORDS) * WORD_BYTES;
        limit("bytes of the directory of metric series in this memory", directory_bytes, room)?;
        let words = HEADER_WORDS..HEADER_WORDS + directory_bytes.div_ceil(WORD_BYTES);
        let mut directory: Vec<u8> = words.flat_map(|at| region.get(at as usize).to_le_bytes()).collect();
        directory.truncate(directory_bytes as usize);
        let series: Vec<Series> = serde_json::from_slice(&directory)?;
        let layout = Layout::new(region.get(header::SEATS), &series, directory_bytes)?;
        for (what, found, expected) in [
            ("the number of words", region.get(header::TOTAL_WORDS), layout.total_words),
            ("the size in words", region.len(), layout.total_words),
            ("the length of a seat", region.get(header::SEAT_WORDS), layout.seat_words),
            ("the position of the first seat", region.get(header::FIRST_SEAT), layout.first_seat),
        ] {
            if found != expected {
                return Err(ScoreboardError::Inconsistent { what, found, expected });
            }
        }
        Ok(Self { inner: Arc::new(Inner { region, layout, series }) })
    }

    /// Whether it is what [`Scoreboard::create`] would make of a plan, or the same with more seats.
    pub fn fits(&self, plan: &Plan) -> bool {
        let version = self.inner.region.get(header::VERSION);
        version == VERSION && self.seats() >= plan.seats && self.inner.series == plan.series
    }

    /// A close-on-exec duplicate of the descriptor, to be handed to another process.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn try_clone_fd(&self) -> Result<OwnedFd, ScoreboardError> {
        self.as_fd().try_clone_to_owned().map_err(ScoreboardError::Duplicate)
    }

    /// Number of seats.
    pub fn seats(&self) -> u16 {
        self.inner.layout.seats
    }

    /// The directory; the position in it is the index of a series.
    pub fn series(&self) -> &[Series] {
        &self.inner.series
    }

    /// The index of a series by name and labels, in their order. For start-up: it walks the directory.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<usize> {
        self.series().iter().position(|series| {
            let own = series.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            series.name == name && own.eq(labels.iter().copied())
        })
    }

    /// The row of one process; `None` beyond the last.
    pub fn seat(&self, index: u16) -> Option<Seat> {
        Some(Seat { base: self.inner.layout.seat(index)?, inner: Arc::clone(&self.inner) })
    }

    /// The sum of a series over all seats; `None` for an index beyond the directory.
    pub fn total(&self, series: usize) -> Option<Sample> {
        let cell = *self.inner.layout.cells.get(series)?;
        let bases = (0..self.seats()).filter_map(|seat| self.inner.layout.seat(seat));
        let sum = |offset: usize| {
            bases.clone().fold(0u64, |sum, base| sum.wrapping_add(self.inner.region.get(base + cell + offset)))
        };
        Some(match &self.inner.series.get(series)?.kind {
            Kind::Counter | Kind::Time => Sample::Counter(sum(0)),
            Kind::Gauge => Sample::Gauge(sum(0) as i64),
            Kind::Histogram { bounds_ns } => {
                Sample::Histogram { counts: (0..=bounds_ns.len()).map(sum).collect(), sum_ns: sum(bounds_ns.len() + 1) }
            }
        })
    }

    /// Sums over the fixed words of all seats.
    pub fn totals(&self) -> Totals {
        (0..self.seats()).filter_map(|index| self.seat(index)).fold(Totals::default(), |sum, seat| Totals {
            in_flight: sum.in_flight + seat.in_flight(),
            open_streams: sum.open_streams + seat.open_streams(),
            open_connections: sum.open_connections + seat.open_connections(),
            requests: sum.requests.wrapping_add(seat.requests()),
            streams: sum.streams.wrapping_add(seat.streams()),
            connections: sum.connections.wrapping_add(seat.connections()),
            live: sum.live + u64::from(seat.state() == SeatState::Live && seat.role() == Some(Role::Worker)),
        })
    }
}

impl AsFd for Scoreboard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.region.as_fd()
    }
}

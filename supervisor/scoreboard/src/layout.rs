//! Where each word of the scoreboard lies. Positions are counted in words of eight bytes.
//!
//! ```text
//! 0..8    header: magic, version, total words, seats, words per seat, first seat, bytes of the directory, 0
//! 8..     directory: the series as JSON, little endian, padded with zero bytes
//! first.. seats, each padded to two cache lines, so that processes do not slow each other
//! ```

use crate::plan::{MAX_DIRECTORY_BYTES, MAX_MEMORY_BYTES, limit, validate};
use crate::{ScoreboardError, Series};

/// "TMCPSCOR" in ASCII.
pub(crate) const MAGIC: u64 = 0x544d_4350_5343_4f52;
/// Raised with every change of the header or of the fixed words of a seat. Version 2 added the thread that serves and the
/// requests before the present process, in words that were 0 before.
pub(crate) const VERSION: u64 = 2;
/// The oldest version that is still read, so that the counts of the program before this one can be taken over: all positions
/// follow from the directory in the same way.
pub(crate) const OLDEST_VERSION: u64 = VERSION - 1;

pub(crate) const WORD_BYTES: u64 = 8;
pub(crate) const HEADER_WORDS: u64 = 8;
/// Two cache lines: neighbouring lines are fetched in pairs.
const ALIGN_WORDS: u64 = 16;

/// Words of the header.
pub(crate) mod header {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = 1;
    pub(crate) const TOTAL_WORDS: usize = 2;
    pub(crate) const SEATS: usize = 3;
    pub(crate) const SEAT_WORDS: usize = 4;
    pub(crate) const FIRST_SEAT: usize = 5;
    pub(crate) const DIRECTORY_BYTES: usize = 6;
}

/// Fixed words at the start of each seat.
pub(crate) mod fixed {
    pub(crate) const PID: usize = 0;
    pub(crate) const SLOT: usize = 1;
    pub(crate) const GENERATION: usize = 2;
    pub(crate) const ROLE: usize = 3;
    pub(crate) const STATE: usize = 4;
    pub(crate) const STARTED_MS: usize = 5;
    pub(crate) const HEARTBEAT_MS: usize = 6;
    pub(crate) const TID: usize = 7;
    pub(crate) const IN_FLIGHT: usize = 8;
    pub(crate) const OPEN_STREAMS: usize = 9;
    pub(crate) const OPEN_CONNECTIONS: usize = 10;
    pub(crate) const REQUESTS: usize = 11;
    pub(crate) const STREAMS: usize = 12;
    pub(crate) const CONNECTIONS: usize = 13;
    pub(crate) const REQUESTS_BEFORE: usize = 14;
    /// Where the cells of the series begin.
    pub(crate) const WORDS: usize = 16;
}

/// Positions that follow from the number of seats and the series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) seats: u16,
    pub(crate) seat_words: u64,
    pub(crate) first_seat: u64,
    pub(crate) total_words: u64,
    /// First cell of each series, counted from the start of a seat.
    pub(crate) cells: Vec<usize>,
}

impl Layout {
    /// Computes all positions. A directory found in memory goes through here as a new plan does.
    pub(crate) fn new(seats: u64, series: &[Series], directory_bytes: u64) -> Result<Self, ScoreboardError> {
        validate(seats, series)?;
        limit("bytes of the directory of metric series", directory_bytes, MAX_DIRECTORY_BYTES)?;
        let mut next = fixed::WORDS as u64;
        let mut cells = Vec::with_capacity(series.len());
        for one in series {
            cells.push(next as usize);
            next += one.kind.cells();
        }
        let seat_words = next.next_multiple_of(ALIGN_WORDS);
        let first_seat = (HEADER_WORDS + directory_bytes.div_ceil(WORD_BYTES)).next_multiple_of(ALIGN_WORDS);
        let total_words = first_seat + seats * seat_words;
        limit("bytes of the scoreboard", total_words * WORD_BYTES, MAX_MEMORY_BYTES)?;
        // The limit on seats fits sixteen bits.
        Ok(Self { seats: seats as u16, seat_words, first_seat, total_words, cells })
    }

    /// First word of a seat.
    pub(crate) fn seat(&self, index: u16) -> Option<usize> {
        (index < self.seats).then(|| (self.first_seat + u64::from(index) * self.seat_words) as usize)
    }
}

//! Shared memory that all processes of an instance map: what each process is doing, every metric, and what they hold in
//! common: the epochs that decide whether a cached result is still true, leases, limits.
//!
//! Two sealed memfds. The [`Scoreboard`] holds a directory of metric series, written once before any process starts, and
//! one row ("seat") for each process. The [`Commons`] lie in a memfd of their own whose layout never changes, so that
//! processes of different versions agree about them.
//!
//! Layout of this crate:
//! - `plan.rs`   what is asked for: seats, metric series and their limits
//! - `layout.rs` where each word of the scoreboard lies
//! - `memory.rs` the mapping; the only file with `unsafe`
//! - `board.rs`  the scoreboard as a whole: create, open, sums over all seats
//! - `seat.rs`   the row of one process
//! - `series.rs` handles on one metric of one seat, and samples
//! - `fold.rs`   takes the counts of an older scoreboard over
//! - `commons/`  tag epochs (own and remote), leases, rate limits, connections by address and in all, generation of the cache's file
//! - `clock.rs`  the clock of heartbeats, leases and rates, and the time of day
//! - `error.rs`  what can fail
//!
//! # Invariants
//!
//! - A mapping is a slice of `AtomicU64`; nothing else is ever placed in shared memory, so a torn or hostile write can
//!   make a number wrong but cannot break the reader's memory safety.
//! - The size is sealed before the first mapping: no access can fault because another process truncated the file.
//! - Offsets are computed from the validated directory, never read from the file.
//! - A seat is the row of one process. Two processes never share one; a seat is handed on only after its process was
//!   reaped and [`Seat::retire`] ran.
//! - Counters and histograms of a seat are never reset: sums over all seats never fall, and a [`Fold`] only adds.
//! - The crate knows nothing of supervision, HTTP or Prometheus.
//!
//! # Words, writers, ordering, crashes
//!
//! | word | writer | ordering | when its writer dies |
//! |---|---|---|---|
//! | header and directory | creator, before it shares the descriptor | plain; `fork` or descriptor passing orders it | complete or never shared |
//! | pid, slot, generation, role, start, requests before | the seat's process, in `begin` | relaxed, published by state | stale; state `Exited` says so |
//! | state | the seat's process; after it was reaped the supervisor (`retire`) | release / acquire | `retire` writes `Exited` |
//! | heartbeat | the seat's process, the thread that serves | relaxed | stops; `retire` leaves it |
//! | thread that serves | the seat's process: `begin` writes 0, then that thread itself | relaxed | stale until the next `begin` |
//! | in-flight, open streams, open connections, gauges | the seat's process; after reaping the supervisor | relaxed | exact count of what was lost; `retire` reads and zeroes |
//! | counters, histogram cells | the seat's process (any thread, `fetch_add`; a [`Fold`] adds to its owner's) | relaxed | kept; an observation cut in two lacks its share of the sum |
//! | epoch cells | any process (`fetch_add`) | acquire-release | kept; a bump is one instruction, so it happened or it did not |
//! | theoretical arrival time of a principal, with its tag | any process (compare-and-exchange) | sequentially consistent | kept; past by itself |
//! | owner of a row of connections by address | its process, from 0; after it was reaped the supervisor (`forget`) | sequentially consistent | the row counts until `forget` |
//! | connections in a row, of an address and in all | the row's owner; after it was reaped the supervisor (`forget`) | sequentially consistent | given back by `forget` |
//! | fence of a lease | any process (compare-and-exchange, then a store) | acquire-release | odd until the supervisor's `forget` |
//! | key, owner and end of a lease | whoever holds its fence odd | release / acquire | its end passes; `forget` clears them |
//! | rows of connections ever taken | any process (`fetch_max`) | sequentially consistent | kept |
//! | remote epochs, trust, membership | see `commons/remote.rs` | see there | see there |
//! | generation of the embedded cache | any process (compare-and-exchange) | acquire-release | kept; it was raised or it was not |
//! | incarnation of the commons | creator, before it shares the descriptor | plain | kept for the life of the memfd |

mod board;
mod clock;
mod commons;
mod error;
mod fold;
mod layout;
mod memory;
mod plan;
mod seat;
mod series;

pub use board::{Scoreboard, Totals};
pub use clock::{monotonic_ms, monotonic_us, unix_ms};
pub use commons::{
    AddressKey, AddressRow, Addresses, Commons, EPOCH_CELLS, Epochs, Fence, Held, Leased, Leases, Membership, Place,
    Quota, Rated, Rates, Remote, RemoteTrust,
};
pub use error::ScoreboardError;
pub use fold::Fold;
pub use plan::{
    Kind, MAX_BOUNDS, MAX_DIRECTORY_BYTES, MAX_LABELS, MAX_MEMORY_BYTES, MAX_SEATS, MAX_SERIES, Plan, Series,
};
pub use seat::{Retired, Role, Seat, SeatState};
pub use series::{Counter, Gauge, Histogram, Sample};

//! The clock of everything that is shared.

use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};

/// Now on the monotonic clock (`CLOCK_MONOTONIC`, clock_gettime(2)), in milliseconds. All processes of a machine read the
/// same clock, so a heartbeat written by one can be judged by another.
pub fn monotonic_ms() -> u64 {
    monotonic_us() / 1000
}

/// The same in microseconds.
pub fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1000
}

/// Now by the system's clock, in milliseconds since 1970: for what outlives processes, or is another machine's too.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

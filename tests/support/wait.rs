//! Conditions with deadlines.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Pause between two looks; short against every deadline, long enough to leave the processor to the server.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The first `Some` of `look` within the deadline; panics with the promise that was broken.
pub fn eventually<T>(deadline: Duration, promise: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {promise}");
        thread::sleep(LOOK_EVERY);
    }
}

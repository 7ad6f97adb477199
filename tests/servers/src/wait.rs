//! Conditions with deadlines, and ports nobody listens to.

use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

/// How long a server may take for anything asked of it here; tests run beside each other on few processors.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The first `Some` of `look` within the deadline.
///
/// # Panics
/// There is none; it says which promise was broken.
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

/// A port of loopback that nobody listened to just now. Somebody may take it before it is used: whoever uses it tries again.
///
/// # Panics
/// There is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port of loopback");
    listener.local_addr().expect("the address of a listener").port()
}

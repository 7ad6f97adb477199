//! Panics: in a tool they are an error of one call, anywhere else they end the process.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

thread_local! {
    /// How many guards the running code of this thread is under.
    static GUARDS: Cell<u32> = const { Cell::new(0) };
}

/// Exit code of a process that panicked outside a guard (sysexits.h, `EX_SOFTWARE`).
const EX_SOFTWARE: i32 = 70;

/// What ran under a guard panicked. The panic hook has logged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Runs `work` so that its panic is its own affair.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let _guard = Guard::enter();
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

/// The same for a future, for each time it is polled.
pub(crate) struct Guarded<F>(pub(crate) F);

impl<F: Future + Unpin> Future for Guarded<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match guarded(|| Pin::new(&mut self.0).poll(cx)) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }
}

/// Installs the hook of a server process: every panic is logged with its place, and one outside a guard ends the process with
/// exit code 70, because what it was in the middle of is unknown. The supervisor replaces the process.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        if GUARDS.get() > 0 {
            tracing::error!(place, panic = message, "A tool panicked.");
            return;
        }
        tracing::error!(place, panic = message, "The process panicked and ends.");
        #[expect(clippy::disallowed_methods, reason = "a state nobody foresaw must not serve on")]
        std::process::exit(EX_SOFTWARE);
    }));
}

struct Guard;

impl Guard {
    fn enter() -> Self {
        GUARDS.set(GUARDS.get() + 1);
        Self
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        GUARDS.set(GUARDS.get().saturating_sub(1));
    }
}

//! Faults on purpose, so that tests can prove what the supervisor does about them. They are values a program passes to its
//! processes, never features of the build: the server under test is the server that ships.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::rt;
use serde::Deserialize;
use tokio::time::sleep;

/// What a worker does wrong on purpose. The default does nothing wrong. Calls are POST requests that one process received.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Worker slots that have these faults; empty = all.
    pub slots: Vec<u16>,
    /// Time lost before anything is built, in milliseconds.
    pub boot_delay_ms: u64,
    /// Whether the process exits before it is ready, with `exit_code`.
    pub exit_at_boot: bool,
    /// When the process exits with `exit_code`, in milliseconds after it was ready.
    pub exit_after_ready_ms: Option<u64>,
    /// Code of an exit that was asked for above.
    pub exit_code: u8,
    /// The first call after this many panics outside its tool, which ends the process.
    pub panic_after_calls: Option<u64>,
    /// The first call after this many never gives the serving thread back.
    pub spin_after_calls: Option<u64>,
    /// Memory each call takes and never gives back, in bytes.
    pub leak_bytes_per_call: usize,
    /// Whether the process neither says nor does anything when it is told to drain.
    pub ignore_drain: bool,
}

/// The faults of one process.
#[derive(Debug)]
pub(crate) struct Armed {
    /// `None` costs one comparison for each request.
    faults: Option<Faults>,
    /// Calls seen; 2^64 of them never come.
    calls: AtomicU64,
}

impl Armed {
    /// Those of `faults` that the worker of `slot` has.
    pub(crate) fn new(faults: Faults, slot: u16) -> Self {
        let has = faults != Faults::default() && (faults.slots.is_empty() || faults.slots.contains(&slot));
        Self { faults: has.then_some(faults), calls: AtomicU64::new(0) }
    }

    /// To be called before anything is built.
    pub(crate) fn at_boot(&self) {
        let Some(faults) = &self.faults else { return };
        tracing::warn!(?faults, "This worker has faults on purpose.");
        std::thread::sleep(Duration::from_millis(faults.boot_delay_ms));
        if faults.exit_at_boot {
            exit(faults.exit_code);
        }
    }

    /// To be called when the process is ready, within its runtime.
    pub(crate) fn when_ready(&self) {
        let Some(Faults { exit_after_ready_ms: Some(after_ms), exit_code, .. }) = self.faults else { return };
        rt::spawn(async move {
            sleep(Duration::from_millis(after_ms)).await;
            exit(exit_code);
        });
    }

    /// To be called for every request, on the thread that serves and outside the guard of any tool.
    pub(crate) fn on_request(&self, method: &Method) {
        let Some(faults) = &self.faults else { return };
        if method != Method::POST {
            return;
        }
        let before = self.calls.fetch_add(1, Ordering::Relaxed);
        let is_due = |after: Option<u64>| after.is_some_and(|after| before >= after);
        // Written to, so that it is resident; shown to the optimiser, so that it happens at all.
        std::mem::forget(std::hint::black_box(vec![1_u8; faults.leak_bytes_per_call]));
        if is_due(faults.panic_after_calls) {
            #[expect(clippy::panic, reason = "it is what this fault is")]
            {
                panic!("a fault on purpose after {before} calls");
            }
        }
        while is_due(faults.spin_after_calls) {
            std::hint::spin_loop();
        }
    }

    /// To be awaited when the process is told to drain.
    pub(crate) async fn before_drain(&self) {
        if self.faults.as_ref().is_some_and(|faults| faults.ignore_drain) {
            std::future::pending::<()>().await;
        }
    }
}

fn exit(code: u8) {
    tracing::warn!(code, "A fault on purpose ends the process.");
    #[expect(clippy::disallowed_methods, reason = "it is what this fault is")]
    std::process::exit(code.into());
}

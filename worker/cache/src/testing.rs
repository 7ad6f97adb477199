//! What the tests of this crate share.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use task_mcp_config::Settings;
use task_mcp_scoreboard::{Plan, Sample, Scoreboard};
use task_mcp_telemetry::{Metrics, names, plan};

use crate::Value;

/// The one tool of these tests.
pub(crate) const TOOL: &str = "t";

/// Metrics, and the scoreboard they are on.
pub(crate) fn metrics() -> (Metrics, Scoreboard) {
    let scoreboard = Scoreboard::create(&Plan { seats: 1, series: plan(&[TOOL], &[]) }).unwrap();
    let seat = scoreboard.seat(0).unwrap();
    (Metrics::bind(&scoreboard, &seat, &[TOOL], &[]).unwrap(), scoreboard)
}

/// What a counter says.
pub(crate) fn counted(scoreboard: &Scoreboard, name: &str, labels: &[(&str, &str)]) -> u64 {
    match scoreboard.total(scoreboard.find(name, labels).unwrap()) {
        Some(Sample::Counter(count)) => count,
        other => panic!("{name} is no counter: {other:?}"),
    }
}

/// How often a fault was counted.
pub(crate) fn faults(scoreboard: &Scoreboard, reason: &str) -> u64 {
    counted(scoreboard, names::CACHE_FAULTS, &[("reason", reason)])
}

/// The shipped settings, in a runtime directory, with a lease that ends soon.
pub(crate) fn settings(runtime_dir: &Path) -> Settings {
    let mut settings: Settings = toml::from_str(task_mcp_config::DEFAULT_TOML).unwrap();
    settings.supervisor.runtime_dir = runtime_dir.to_owned();
    settings.cache.lease_ms = 100;
    settings.cache.budget_ms = 1_000;
    settings.cache.max_bytes = 4 << 20;
    settings
}

/// A result.
pub(crate) fn value(text: &str) -> Value {
    Value::Result { structured: Bytes::copy_from_slice(text.as_bytes()), text: Bytes::from_static(b"\"\"") }
}

/// The first `Some` of `look`, which comes within ten seconds.
pub(crate) async fn eventually<R, F: Future<Output = Option<R>>>(promise: &str, mut look: impl FnMut() -> F) -> R {
    let began = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "not within ten seconds: {promise}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

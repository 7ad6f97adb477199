//! One contract for every place that holds records.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod contract;
mod embedded;

use std::time::Duration;

use super::*;
use crate::testing::metrics;

const HOUR: Duration = Duration::from_secs(3_600);

/// Records of one place, and what keeps it while they are used.
struct Place {
    records: Records,
    _keeps: Box<dyn std::any::Any>,
}

fn in_memory() -> Place {
    Place { records: Records::memory(metrics()), _keeps: Box::new(()) }
}

fn embedded_in(folder: &Path, max_bytes: u64) -> Records {
    Records::embedded(folder, max_bytes, Duration::from_secs(20), metrics()).unwrap()
}

fn in_files() -> Place {
    let folder = tempfile::tempdir().unwrap();
    Place { records: embedded_in(folder.path(), 64 << 20), _keeps: Box::new(folder) }
}

//! One contract for every place that holds records.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod contract;
mod crash;
mod embedded;
mod remote;

use std::time::Duration;

use task_mcp_test_servers::RedisServer;

use super::*;
use crate::testing::{BASE, connection, metrics};

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

fn in_redis() -> Place {
    let server = RedisServer::start();
    Place { records: in_redis_of(&server).records, _keeps: Box::new(server) }
}

fn in_redis_of(server: &RedisServer) -> Place {
    let records = Records::remote(connection(server), BASE, Duration::from_secs(20), metrics());
    Place { records, _keeps: Box::new(()) }
}

fn in_files() -> Place {
    let folder = tempfile::tempdir().unwrap();
    Place { records: embedded_in(folder.path(), 64 << 20), _keeps: Box::new(folder) }
}

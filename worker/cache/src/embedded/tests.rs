//! The embedded tier in one process.

use task_mcp_scoreboard::{Commons, Scoreboard};
use tempfile::TempDir;

use super::*;
use crate::contract::{Shared as Pair, contract};
use crate::testing::{metrics, settings};

/// A tier in a directory of its own.
struct Fixture {
    tier: Embedded,
    dir: TempDir,
    commons: Commons,
    scoreboard: Scoreboard,
}

fn start(change: impl FnOnce(&mut Settings)) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let (metrics, scoreboard) = metrics();
    let commons = Commons::create().unwrap();
    let mut settings = settings(dir.path());
    change(&mut settings);
    let tier = Embedded::open(&settings, &commons, metrics.cache);
    Fixture { tier, dir, commons, scoreboard }
}

async fn pair() -> Pair<Embedded> {
    let Fixture { tier, dir, scoreboard, .. } = start(|_| {});
    // LMDB opens a file once in a process; another process is tried elsewhere.
    let shared = Arc::clone(&tier.shared);
    let writer = Some(Writer::start(&shared, Duration::from_secs(1)).unwrap());
    let two = Embedded { shared, writer, lease_ms: tier.lease_ms };
    Pair { one: tier, two, _keep: Box::new((dir, scoreboard)) }
}

contract!(pair);

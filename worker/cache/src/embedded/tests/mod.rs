//! The embedded tier: what all tiers promise, what one process sees, what other processes do to it.

mod alone;
mod processes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use task_mcp_config::Settings;
use task_mcp_scoreboard::{Commons, Scoreboard};
use tempfile::TempDir;

use super::writer::Writer;
use super::{Embedded, unix_ms};
use crate::contract::{Shared as Pair, contract};
use crate::testing::{metrics, settings, value};
use crate::tier::{Entry, Found, Looked, Tier};
use crate::{Key, Tag};

/// A tier in a directory of its own.
struct Fixture {
    tier: Embedded,
    dir: TempDir,
    commons: Commons,
    scoreboard: Scoreboard,
}

fn start(change: impl FnOnce(&mut Settings)) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    start_in(dir, Commons::create().unwrap(), change)
}

fn start_in(dir: TempDir, commons: Commons, change: impl FnOnce(&mut Settings)) -> Fixture {
    let (tier, scoreboard) = open(dir.path(), &commons, change);
    Fixture { tier, dir, commons, scoreboard }
}

fn open(dir: &Path, commons: &Commons, change: impl FnOnce(&mut Settings)) -> (Embedded, Scoreboard) {
    let (metrics, scoreboard) = metrics();
    let mut settings = settings(dir);
    change(&mut settings);
    (Embedded::open(&settings, commons, metrics.cache), scoreboard)
}

impl Fixture {
    fn entry(&self, text: &str) -> Entry {
        entry(&self.tier, text)
    }

    async fn found(&self, name: &str) -> Option<Found> {
        found(&self.tier, name).await
    }
}

fn tags() -> [Tag; 1] {
    [Tag::new("a")]
}

fn key(name: &str) -> Key {
    Key::of(&[name.as_bytes()])
}

fn entry(tier: &Embedded, text: &str) -> Entry {
    let (fresh, stale) = (Duration::from_secs(100), Duration::ZERO);
    let stamps = tier.shared.stamps(&tags());
    Entry { value: value(text), stamps, name: format!("t {text}"), created_ms: unix_ms(), fresh, stale }
}

async fn found(tier: &Embedded, name: &str) -> Option<Found> {
    match tier.look(&key(name), &tags()).await {
        Looked::Fresh(found) => Some(found),
        _ => None,
    }
}

async fn pair() -> Pair<Embedded> {
    let Fixture { tier, dir, scoreboard, .. } = start(|_| {});
    // LMDB opens a file once in a process; `processes` tries several.
    let shared = Arc::clone(&tier.shared);
    let writer = Some(Writer::start(&shared, Duration::from_secs(1)).unwrap());
    let two = Embedded { shared, writer, lease_ms: tier.lease_ms };
    Pair { one: tier, two, _keep: Box::new((dir, scoreboard)) }
}

contract!(pair);

//! The tier against real servers.

mod coherence;
mod edited;
mod faults;
mod machines;
mod membership;
mod operations;
mod proxy;
mod standing;
mod topologies;

use std::sync::Arc;
use std::time::Duration;

use redis::cmd;
use task_mcp_config::settings::Secret;
use task_mcp_scoreboard::Scoreboard;
use task_mcp_test_servers::RedisServer;
use tokio::task::JoinHandle;

use super::*;
use crate::contract::{Shared, contract};
use crate::entry::unix_ms;
use crate::testing::{eventually, metrics, settings, value};
use crate::tier::Stamps;

/// A process of a machine, and its machine.
struct Process {
    tier: Arc<RedisTier>,
    commons: Commons,
    scoreboard: Scoreboard,
    settings: Settings,
}

/// A task that ends with its handle.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A machine of one process, which keeps house too.
struct Machinery {
    process: Process,
    _house: Running,
}

impl std::ops::Deref for Machinery {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

fn redis_settings(url: &str, coherence: Coherence) -> Settings {
    let mut settings = settings(std::path::Path::new("/nonexistent"));
    settings.redis.url = Secret::new(url);
    settings.redis.retry_ms = 10;
    settings.redis.retry_max_ms = 50;
    settings.cache.coherence = coherence;
    settings
}

impl Process {
    fn of(settings: Settings, commons: &Commons) -> Self {
        let (metrics, scoreboard) = metrics();
        let redis = metrics.cache_redis.clone();
        let tier = RedisTier::open(&settings, "store", commons, metrics.cache, redis).unwrap();
        let commons = Commons::open(commons.try_clone_fd().unwrap()).unwrap();
        Self { tier: Arc::new(tier), commons, scoreboard, settings }
    }

    /// Another process of the same machine.
    fn sibling(&self) -> Self {
        Self::of(self.settings.clone(), &self.commons)
    }

    fn keep_house(&self) -> Running {
        let tier = Arc::clone(&self.tier);
        Running(tokio::spawn(async move { tier.keep_house().await }))
    }

    async fn look(&self, name: &str) -> Looked {
        self.tier.look(&key(name), &[Tag::new(name)]).await
    }

    /// The text of what is answered for `name`, which has a tag of its own name.
    async fn text(&self, name: &str) -> Option<String> {
        match self.look(name).await {
            Looked::Fresh(found) => Some(text_of(&found.value)),
            _ => None,
        }
    }

    /// The same, as another process of the machine finds it: not from this one's memory.
    async fn sibling_text(&self, name: &str) -> Option<String> {
        let sibling = self.sibling();
        sibling.settled().await;
        sibling.text(name).await
    }

    async fn stamps(&self, name: &str) -> Stamps {
        eventually("Redis is trusted", async || match self.look(name).await {
            Looked::Nothing(stamps) => Some(stamps),
            _ => None,
        })
        .await
    }

    /// Computes `text` now and stores it.
    async fn put(&self, name: &str, text: &str) -> Result<(), CacheFault> {
        let stamps = self.stamps(name).await;
        self.tier.store(&key(name), entry(stamps, text), None).await
    }

    async fn bump(&self, name: &str) {
        self.tier.bump(&[Tag::new(name)]).await;
    }

    /// Until its memory is vouched for without a question to Redis.
    async fn vouched(&self) {
        eventually("the housekeeper vouches for memory", async || {
            (self.commons.remote().trust().until_ms > task_mcp_scoreboard::monotonic_ms() + 500).then_some(())
        })
        .await;
    }

    /// Until what it answers is trusted, and nothing is left to tell.
    async fn settled(&self) {
        eventually("Redis is trusted and told everything", async || {
            let settled = self.tier.machine.all_untold().is_empty();
            (settled && !matches!(self.look("settled").await, Looked::Untrusted)).then_some(())
        })
        .await;
    }
}

fn key(name: &str) -> Key {
    Key::of(&[name.as_bytes()])
}

fn text_of(value: &crate::Value) -> String {
    match value {
        crate::Value::Result { structured, .. } => String::from_utf8_lossy(structured).into_owned(),
        crate::Value::Error(_) => String::new(),
    }
}

fn entry(stamps: Stamps, text: &str) -> Entry {
    let (fresh, stale) = (Duration::from_secs(100), Duration::from_secs(100));
    Entry { value: value(text), stamps, name: format!("t {text}"), created_ms: unix_ms(), fresh, stale }
}

/// A machine that shares `server`.
fn machine(url: &str, coherence: Coherence) -> Machinery {
    machine_with(redis_settings(url, coherence))
}

fn machine_with(settings: Settings) -> Machinery {
    let process = Process::of(settings, &Commons::create().unwrap());
    let house = process.keep_house();
    Machinery { process, _house: house }
}

/// Machines that have all adopted the same incarnation.
async fn machines(url: &str, coherence: Coherence, count: usize) -> Vec<Machinery> {
    let machines: Vec<_> = (0..count).map(|_| machine(url, coherence)).collect();
    agree(&machines).await;
    machines
}

async fn agree(machines: &[Machinery]) {
    eventually("all machines have adopted one incarnation", async || {
        let mut all = Vec::new();
        for machine in machines {
            all.push(match machine.look("agreed").await {
                Looked::Nothing(stamps) => stamps.incarnation,
                _ => return None,
            });
        }
        all.windows(2).all(|pair| pair.first() == pair.last()).then_some(())
    })
    .await;
}

async fn one_machine(coherence: Coherence) -> Shared<RedisTier> {
    let server = RedisServer::start();
    let house = machine(&server.url(), coherence);
    let (one, two) = (house.sibling(), house.sibling());
    for process in [&one, &two] {
        process.settled().await;
    }
    let tier = |process: Process| Arc::into_inner(process.tier).unwrap();
    Shared { one: tier(one), two: tier(two), _keep: Box::new((server, house)) }
}

async fn strict() -> Shared<RedisTier> {
    one_machine(Coherence::Strict).await
}

async fn tracked() -> Shared<RedisTier> {
    one_machine(Coherence::Tracked).await
}

async fn strict_over_machines() -> Shared<RedisTier> {
    let server = RedisServer::start();
    let both = machines(&server.url(), Coherence::Strict, 2).await;
    let [one, two] = [0, 1].map(|at| Arc::into_inner(both[at].sibling().tier).unwrap());
    for tier in [&one, &two] {
        eventually("Redis is trusted", async || {
            let looked = tier.look(&key("settled"), &[]).await;
            (!matches!(looked, Looked::Untrusted)).then_some(())
        })
        .await;
    }
    Shared { one, two, _keep: Box::new((server, both)) }
}

mod strict_suite {
    super::contract!(super::strict);
}

mod tracked_suite {
    super::contract!(super::tracked);
}

mod strict_over_machines_suite {
    super::contract!(super::strict_over_machines);
}

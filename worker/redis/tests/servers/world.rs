//! A connection under test, and what it counted.

use std::time::{Duration, Instant};

use task_mcp_config::settings::{Redis as Settings, RedisTopology, Secret};
use task_mcp_redis::{Answer, ConnectionStatus, Purpose, Redis, RedisError, ServerId};
use task_mcp_scoreboard::{Plan, Sample, Scoreboard};
use task_mcp_telemetry::{Metrics, names, plan};

/// How long anything may take that has no bound of its own: tests run beside each other on few processors.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A budget that only a broken promise exceeds.
pub const AMPLE: Duration = Duration::from_secs(10);

/// A budget that a server that does not answer uses up, far below any other time limit here.
pub const SHORT: Duration = Duration::from_millis(100);

/// The key whose slot counts in a cluster.
pub const KEY: &str = "{test}:key";

pub struct World {
    pub redis: Redis,
    scoreboard: Scoreboard,
}

/// Settings that notice things quickly.
pub fn settings(url: &str) -> Settings {
    Settings {
        url: Secret::new(url),
        topology: RedisTopology::Standalone,
        nodes: Vec::new(),
        sentinel_master: String::new(),
        sentinel_password: Secret::new(""),
        tls_ca: "".into(),
        tls_cert: "".into(),
        tls_key: "".into(),
        prefix: "task-mcp".to_owned(),
        connect_timeout_ms: 2000,
        breaker_failures: 5,
        retry_ms: 20,
        retry_max_ms: 200,
    }
}

/// The settings' connection.
pub fn try_open(settings: &Settings) -> Result<World, RedisError> {
    let scoreboard = Scoreboard::create(&Plan { seats: 1, series: plan(&[], &[]) }).unwrap();
    let metrics = Metrics::bind(&scoreboard, &scoreboard.seat(0).unwrap(), &[], &[]).unwrap();
    Ok(World { redis: Redis::open(settings, Purpose::Cache, KEY, metrics.cache_redis)?, scoreboard })
}

pub fn open(settings: &Settings) -> World {
    try_open(settings).unwrap()
}

impl World {
    /// Waits for a connection.
    pub async fn up(&self) -> ServerId {
        eventually("there is a connection", || self.redis.status().is_up().then(|| self.redis.server()).flatten()).await
    }

    /// Waits until a connection cannot be made; the reason.
    pub async fn down(&self) -> String {
        eventually("there is no connection", || match self.redis.status().connection {
            ConnectionStatus::Down { reason, .. } => Some(reason),
            _ => None,
        })
        .await
    }

    pub async fn set(&self, value: &str) -> Result<Answer<()>, RedisError> {
        self.redis.ask(redis::cmd("SET").arg(KEY).arg(value), AMPLE).await
    }

    pub async fn get(&self, budget: Duration) -> Result<Answer<Option<String>>, RedisError> {
        self.redis.ask(redis::cmd("GET").arg(KEY), budget).await
    }

    /// Asks until there is an answer.
    pub async fn answer(&self, promise: &str) -> Answer<Option<String>> {
        let started = Instant::now();
        loop {
            match self.get(Duration::from_secs(1)).await {
                Ok(answer) => return answer,
                Err(error) => assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {promise}: {error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Commands that failed for this reason.
    pub fn failures(&self, reason: &str) -> u64 {
        self.counted(names::REDIS_FAULTS, &[("for", "cache"), ("reason", reason)])
    }

    /// Connections that were made.
    pub fn connects(&self) -> u64 {
        self.counted(names::REDIS_CONNECTS, &[("for", "cache")])
    }

    /// Whether the series says that the breaker is open.
    pub fn breaker_open(&self) -> bool {
        self.counted(names::REDIS_BREAKER_OPEN, &[("for", "cache")]) == 1
    }

    fn counted(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        match self.scoreboard.total(self.scoreboard.find(name, labels).unwrap()) {
            Some(Sample::Counter(count)) => count,
            Some(Sample::Gauge(value)) => u64::try_from(value).unwrap(),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// The first `Some` of `look`.
pub async fn eventually<T>(promise: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {promise}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

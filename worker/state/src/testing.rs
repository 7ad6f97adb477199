//! What the tests of this crate share.

use std::time::{Duration, Instant};

use task_mcp_config::Settings;
use task_mcp_config::settings::Secret;
use task_mcp_redis::{Purpose, Redis};
use task_mcp_scoreboard::{Plan, Role, Scoreboard};
use task_mcp_telemetry::{Metrics, StateMetrics, plan};
use task_mcp_test_servers::RedisServer;

/// Makes a test of every promise for every place of records. A promise takes what the functions `in_memory`, `in_files` and `in_redis`
/// beside it make.
macro_rules! in_every_place {
    ($($promise:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $promise() { super::$promise(super::in_memory()).await; })+
        }
        mod files {
            $(#[tokio::test] async fn $promise() { super::$promise(super::in_files()).await; })+
        }
        mod redis {
            $(#[tokio::test] async fn $promise() { super::$promise(super::in_redis()).await; })+
        }
    };
}
pub(crate) use in_every_place;

/// Series of their own, which nobody reads.
pub(crate) fn metrics() -> StateMetrics {
    all_metrics().state
}

fn all_metrics() -> Metrics {
    let board = Scoreboard::create(&Plan { seats: 1, series: plan(&[], &[]) }).expect("a scoreboard");
    let seat = board.seat(0).expect("one seat");
    seat.begin(1, 0, 1, Role::Worker, 0);
    Metrics::bind(&board, &seat, &[], &[]).expect("the plan of this build")
}

/// A connection to a server of a test.
pub(crate) fn connection(server: &RedisServer) -> Redis {
    let mut settings: Settings = toml::from_str(task_mcp_config::DEFAULT_TOML).expect("the shipped settings");
    settings.redis.url = Secret::new(server.url());
    settings.redis.retry_ms = 20;
    settings.redis.retry_max_ms = 100;
    let metrics = all_metrics().state_redis;
    Redis::open(&settings.redis, Purpose::State, BASE, metrics).expect("settings that can work")
}

/// What keys begin with.
pub(crate) const BASE: &str = "{test:state}";

/// Looks until it is so; gives up after ten seconds.
pub(crate) async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

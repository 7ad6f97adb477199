//! A machine of its own, whose state is in a Redis.
#![allow(unreachable_pub)]

use task_mcp_config::settings::{Secret, StateBackend};
use task_mcp_config::{Settings, Sources, load};
use task_mcp_scoreboard::{Commons, Plan, Scoreboard};
use task_mcp_state::State;
use task_mcp_telemetry::{Metrics, plan};

pub fn settings(url: &str) -> Settings {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("openspec")).unwrap();
    let sources = Sources { root: Some(root.path().to_owned()), ..Sources::from_process().unwrap() };
    let mut settings = load(&sources).unwrap().settings;
    settings.state.backend = StateBackend::Redis;
    settings.redis.url = Secret::new(url);
    (settings.redis.retry_ms, settings.redis.retry_max_ms) = (20, 100);
    settings
}

/// Its shared memory and the state of one of its processes.
pub fn machine(settings: &Settings) -> (Commons, State) {
    let scoreboard = Scoreboard::create(&Plan { seats: 1, series: plan(&[], &[]) }).unwrap();
    let metrics = Metrics::bind(&scoreboard, &scoreboard.seat(0).unwrap(), &[], &[]).unwrap();
    let commons = Commons::create().unwrap();
    let state = State::open(settings, &commons, metrics.state, metrics.state_redis).unwrap();
    (commons, state)
}

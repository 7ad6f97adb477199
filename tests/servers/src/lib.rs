//! Real servers for tests: Redis alone, with replicas, behind sentinels, as a cluster. Each runs on a free port of loopback (or a
//! socket) in a folder of its own, and is killed when its value is dropped.
//!
//! # Layout
//! - `redis`: one server; `builder`: how it is started
//! - `sentinels`, `cluster`: several of them
//! - `certificates`: an authority, and what it signed
//! - `log`: what a test logs
//! - `process`: a server's process; `wait`: conditions with deadlines
//!
//! # Invariants
//! - Only tests use it: what does not work here panics, and says what.
//! - Only processes that were started here are signalled, by their own id.
//! - A server is ready when its value is there; nothing sleeps in the hope that it is.

// Tests fail loudly.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod builder;
mod certificates;
mod cluster;
mod log;
mod process;
mod redis;
mod sentinels;
mod wait;

pub use builder::Builder;
pub use certificates::Certificates;
pub use cluster::Cluster;
pub use log::Log;
pub use redis::RedisServer;
pub use sentinels::Sentinels;
pub use wait::{eventually, free_port};

//! Every metric this server exposes, and when it is ready.
//!
//! # Layout
//! - `names`: names, help texts and buckets
//! - `http`: what is counted of requests, by method, route and status
//! - `tools`: what is counted of tool calls, by tool and error code
//! - `cache`, `redis`, `state`, `limits`, `mcp`: what is counted of each
//! - `metrics`: the series of an instance as a plan for the scoreboard, and a process's handles on them
//! - `exposition`: the scoreboard as Prometheus text
//! - `kernel`: what the kernel knows about a process
//! - `readiness`: latches whose owners say when they are done
//!
//! # Invariants
//! - No metric lives in process memory: a handle is a cell of the scoreboard, so a crash loses no count.
//! - All label sets are known before the first process starts; what does not fit falls under `other`.
//! - Counting costs no lookup by name, no lock and no allocation.

mod cache;
mod exposition;
mod http;
mod kernel;
mod limits;
mod mcp;
mod metrics;
pub mod names;
mod readiness;
mod redis;
mod state;
mod tools;

pub use cache::{CacheFault, CacheMetrics, CacheOperation, CacheOutcome};
pub use exposition::{ExpositionError, exposition};
pub use http::{HttpMetrics, Method, Route};
pub use limits::LimitMetrics;
pub use mcp::{McpMetrics, QuestionOutcome, StreamKind, TaskOutcome};
pub use metrics::{Metrics, UnplannedSeries, plan};
pub use readiness::{Latch, Readiness};
pub use redis::{RedisFault, RedisMetrics};
pub use state::{IdempotencyOutcome, StateMetrics};
pub use tools::{Running, ToolMetrics};

//! Real processes, real trees and small clients for the end-to-end tests.
//!
//! - `builder`: starts the binary and reads its banner
//! - `server`: a running server, its processes, its end, and the proof that nothing survives
//! - `process`: processes as `/proc` shows them
//! - `command`: runs the binary to its end
//! - `tree`: an `openspec/` tree and its fingerprint
//! - `dialect`: one tool call in each dialect of the wire, answers brought to one form
//! - `rpc`: single JSON-RPC messages
//! - `metrics`: the Prometheus text, read back
//! - `wait`: conditions with deadlines

mod builder;
mod command;
mod dialect;
mod metrics;
mod process;
mod rpc;
mod server;
mod tree;
mod wait;

pub use command::{finish, run_alone};
pub use dialect::{Caller, Dialect, Fault};
pub use metrics::Metrics;
pub use process::{Process, Signal, signal};
pub use rpc::{Answer, META, Session, modern, modern_call};
pub use server::Server;
pub use tree::Tree;
pub use wait::eventually;

//! Real processes, real trees and small clients for the end-to-end tests.
//!
//! - `builder`: starts the binary and reads its banner
//! - `server`: a running server, its processes, its end, and the proof that nothing survives
//! - `process`: processes as `/proc` shows them; `sockets`: the connections a process holds
//! - `command`: runs the binary to its end
//! - `tree`: an `openspec/` tree and its fingerprint
//! - `dialect`: one tool call in each dialect of the wire, answers brought to one form
//! - `rpc`: single JSON-RPC messages; `stream`: an answer that is read as it comes
//! - `shared`: instances that share registers, counts and a cache
//! - `router`: every request at a random instance; `cluster`: two instances behind it; `suite`: the official conformance suite
//! - `control`: the control socket, over one kept connection
//! - `crowd`: calls over kept connections to many workers, each over a random one
//! - `load`: requests at a steady rate while something happens to the server
//! - `metrics`: the Prometheus text, read back
//! - `wait`: conditions with deadlines; `size`: short and full forms of a test

mod builder;
mod cluster;
mod command;
mod control;
mod crowd;
mod dialect;
mod events;
mod load;
mod metrics;
mod process;
mod router;
mod rpc;
mod server;
mod shared;
mod size;
mod sockets;
mod stream;
mod suite;
mod tree;
mod wait;

pub use builder::ServerBuilder;
pub use cluster::Cluster;
pub use command::{Finished, finish, program, run_alone};
pub use control::Control;
pub use crowd::{Crowd, Random};
pub use dialect::{Caller, Dialect, Fault};
pub use events::{Event, Events};
pub use load::{Load, steady};
pub use metrics::Metrics;
pub use process::{Process, Signal, Usage, signal};
pub use router::{Loss, Lost, Router};
pub use rpc::{Answer, META, Session, modern, modern_as, modern_call};
pub use server::{REQUEST_LIMIT, Server, runs_in};
pub use shared::Shared;
pub use size::sized;
pub use sockets::{Sockets, sockets_of};
pub use stream::Stream;
pub use suite::{Scenario, Suite, node_of_suite};
pub use tree::Tree;
pub use wait::{Stalls, eventually};

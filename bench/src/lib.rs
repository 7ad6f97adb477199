//! Load generator that counts what became of every request.
//!
//! A throughput number hides what matters when processes are killed, drained and replaced: whether a
//! connection was refused, reset, closed before the answer, cut inside it, or left waiting. So each
//! request ends in exactly one [`Outcome`], told apart by whether its connection was new or reused.
//! The end-to-end tests of the server use the same client, one request at a time ([`fetch`]).
//!
//! # Layout
//! - `request`: what is sent, as bytes laid out once
//! - `answer`: head and framing of an HTTP/1.1 response
//! - `connection`: one TCP connection, the check before its reuse, one exchange
//! - `outcome`: the classes a request can end in
//! - `plan`: what a run does, and its limits
//! - `run`: the loops, closed and open
//! - `report`: counts and latencies of a run
//! - `fetch`: one request for callers without a runtime
//! - `error`: why a run could not be made at all
//!
//! # Invariants
//! - It knows nothing of the server it measures: no dependency on another crate of this workspace.
//! - Every run is bounded in requests and in time, every answer in bytes.
//! - A request is sent at most once; nothing is retried, so a count is a fact about the server.
//! - A connection is reused only if the peer has not closed it yet: a request written into a closed
//!   connection would be a fault of the client, and would be counted as one of the server.
//! - What the generator itself could not do shows in the report: how late requests left, and how many never did.

mod answer;
mod connection;
mod error;
mod fetch;
mod outcome;
mod plan;
mod report;
mod request;
mod run;

pub use answer::{Answer, Response};
pub use connection::Connection;
pub use error::Error;
pub use fetch::fetch;
pub use outcome::{Failure, Freshness, Mishap, Outcome};
pub use plan::{Control, Pace, Plan, Reuse};
pub use report::Report;
pub use request::Request;
pub use run::run;

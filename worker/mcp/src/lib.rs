//! JSON-RPC and the Model Context Protocol, in both eras, without IO.
//!
//! A transport hands in the bytes of one message and the headers that came with it; the [`Engine`] answers with bytes and an
//! HTTP status, or with a [`ToolCall`] that the transport runs and finishes with [`ToolCall::reply`].
//!
//! # Layout
//! - `engine`: what one message leads to: the era, the checks in their order, the methods
//! - `message`: one JSON-RPC message, borrowed from the body
//! - `depth`: nesting depth of a body, told before anything is parsed
//! - `revision`: the protocol revisions and their eras
//! - `meta`: the `_meta` of a request
//! - `headers`: the request headers of the protocol, and how they must agree with the body
//! - `error`: protocol errors: code, text, data, HTTP status
//! - `catalog`: what the server tells of itself and its tools, serialised once
//! - `sealed`: what clients keep for the server: session ids, `requestState`, ids of questions
//! - `reply`: answers as bytes; results are wrapped, never parsed again
//!
//! # Invariants
//! - Nothing here knows actix, tokio, a socket or a tool's insides.
//! - Client bytes never panic: the body is borrowed, checked and refused with a code of the specification.
//! - Every answer is one compact JSON object on one line.
//! - All messages are ours rather than rmcp's: the hot path borrows from the body and writes a result's bytes once.

mod capabilities;
mod catalog;
mod depth;
mod engine;
mod error;
mod headers;
mod message;
mod meta;
mod reply;
mod revision;
pub mod sealed;

pub use capabilities::{Capability, ClientCapabilities, TASKS_EXTENSION};
pub use catalog::{Catalog, CatalogError, ServerInfo, ToolAnnotations, ToolDescription};
pub use depth::exceeds_depth;
pub use engine::{Engine, Route, ToolCall};
pub use error::{RpcError, code};
pub use headers::RequestHeaders;
pub use message::RequestId;
pub use meta::IDEMPOTENCY_KEY;
pub use reply::{CallResult, Reply, json_string};
pub use revision::{Era, Revision};

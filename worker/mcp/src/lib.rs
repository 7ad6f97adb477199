//! JSON-RPC and the Model Context Protocol, in both eras, without IO.
//!
//! A transport hands in the bytes of one message and the headers that came with it; the [`Engine`] says what it leads to: a
//! [`Request`] the transport serves and answers with a [`Reply`], or a reply at once.
//!
//! # Layout
//! - `engine`: what one message leads to: the era, the checks in their order, the methods
//! - `message`: one JSON-RPC message, borrowed from the body
//! - `batch`: several messages in one body, in 2025-03-26 only
//! - `request`: a request that is in order; `params`: the parameters of each method
//! - `capabilities`: what a client can do; `level`: how severe a message is
//! - `context`: what a call may do besides answering; each transport implements it
//! - `content`, `describe`: what results, tools, prompts and resources are made of
//! - `depth`: nesting depth of a body, told before anything is parsed
//! - `revision`: the protocol revisions and their eras
//! - `meta`: the `_meta` of a request
//! - `headers`: the request headers of the protocol, and how they must agree with the body
//! - `param_headers`: arguments of a tool that its clients repeat in headers
//! - `error`: protocol errors: code, text, data, HTTP status
//! - `catalog`: what the server tells of itself and its tools, serialised once
//! - `sealed`: what clients keep for the server: session ids, `requestState`, ids of questions
//! - `reply`: answers as bytes; results are wrapped, never parsed again
//!
//! # Invariants
//! - Nothing here knows actix, tokio, a socket or a tool's insides.
//! - Client bytes never panic: the body is borrowed, checked and refused with a code of the specification.
//! - Every answer is one compact JSON object on one line.
//!
//! # Why not rmcp's types
//! All messages are ours. rmcp's server reads each message into owned, untagged enums, which tries one variant after another, and hands
//! it over channels to a task of its own; on the same HTTP stack that costs 18 to 30 us a request more than typed parsing that borrows
//! from the body, which is a multiple of what a hit of the cache costs. Here the envelope is borrowed, `arguments` are text until a tool
//! wants them, and the bytes of a result are written once. rmcp's payload types would bring those enums along. Its conformance is
//! matched by tests: the official suite runs in both eras.

mod batch;
mod capabilities;
mod catalog;
mod content;
mod context;
mod depth;
mod describe;
mod engine;
mod error;
mod headers;
mod level;
mod message;
mod meta;
mod param_headers;
mod params;
mod reply;
mod request;
mod revision;
pub mod sealed;

pub use batch::BATCH_MAX;
pub use capabilities::{Capability, ClientCapabilities, TASKS_EXTENSION};
pub use catalog::{Catalog, CatalogError, List, Offer, ServerInfo};
pub use content::{Content, ResourceBody, ResourceContents};
pub use context::{Answers, CallContext, Change, ContextFuture, NoChunks, Nobody, Question, Questions, Unanswered};
pub use depth::exceeds_depth;
pub use describe::{
    PromptArgument, PromptDescription, ResourceDescription, ResourceTemplate, ToolAnnotations, ToolDescription,
};
pub use engine::{Engine, Notification, Response, Route};
pub use error::{RpcError, code, shown};
pub use headers::{PARAM_PREFIX, RequestHeaders};
pub use level::LogLevel;
pub use message::RequestId;
pub use meta::IDEMPOTENCY_KEY;
pub use reply::{Blocks, CallResult, Freshness, Reply, SUBSCRIPTION_ID, json_string};
pub use request::{Filter, Handshake, Invocation, Method, Request};
pub use revision::{Era, Revision};

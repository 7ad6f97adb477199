//! Promises of the whole server, kept by real processes.
//!
//! - `start`: from the command to the first answer; what refuses to start
//! - `settings`: bad settings are all named at once
//! - `lane`: start, open, list, archive in every dialect, with the files they leave
//! - `together`: several workers give one answer
//! - `adoption`: what waits for a worker that does not come is served by another
//! - `crash`: a killed process costs what it had in flight, and is replaced
//! - `control`: status, rolling restarts, more and fewer workers, workers that hang
//! - `logs`: level and file change while it runs; the state of everything on demand
//! - `stop`: what SIGTERM promises to calls in flight and to the one who sent it
//! - `streams`: event streams while their tool still runs
//! - `faults`: tools that fail or panic
//! - `access`: tokens, Host, Origin, size of a body
//! - `bad_input`: broken and hostile calls change nothing
//! - `headers`: the table of headers and `_meta` of MCP 2026-07-28
//! - `metrics`: what is counted is what was sent
//! - `alone`: commands that run without the server, and beside it
//! - `documents`: what the documents say exists
//! - `clients`: the official SDKs of Python and TypeScript
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stderr, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod adoption;
mod alone;
mod bad_input;
mod clients;
mod control;
mod crash;
mod documents;
mod faults;
mod headers;
mod lane;
mod logs;
mod metrics;
mod settings;
mod start;
mod stop;
mod streams;
mod together;

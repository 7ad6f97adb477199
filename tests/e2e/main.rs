//! Promises of the whole server, kept by real processes.
//!
//! - `start`: from the command to the first answer; what refuses to start
//! - `settings`: bad settings are all named at once
//! - `lane`: start, open, list, archive in every dialect, with the files they leave
//! - `together`: several workers give one answer
//! - `adoption`: what waits for a worker that does not come is served by another
//! - `crash`: a killed process costs what it had in flight, and is replaced
//! - `cache_file`: the file of the embedded cache is truncated, overwritten, removed, or has no room
//! - `chaos`: workers killed each second under load, every loss assigned to a kill
//! - `crash_loop`: workers that cannot start
//! - `control`: status, rolling restarts, more and fewer workers, workers that hang
//! - `recycle`: workers that have reached a limit
//! - `logs`: level and file change while it runs; the state of everything on demand
//! - `reload`: settings that change while it runs
//! - `upgrade`: another program takes over
//! - `hang`: workers that stop answering
//! - `resources`: resources, prompts and completions over a tree
//! - `rolling`: many restarts, crashes and changes of size leave nothing behind
//! - `scarce`: descriptors run out, `/proc` is hidden, a dead instance left its files
//! - `stop`: what SIGTERM promises to calls in flight and to the one who sent it
//! - `drain`: SIGTERM with hundreds of calls and streams, and with those that never end
//! - `lame_duck`: who comes while the whole instance drains
//! - `told`: messages and signals that must not end or stop a process
//! - `streams`: event streams while their tool still runs
//! - `session_streams`: the streams of a legacy session
//! - `resume`: streams that broke are fetched again
//! - `chunks`: results that are told while they are made
//! - `executor`: one path for every call: limits, callers that leave, edits by hand
//! - `idempotency`: writes that are sent again
//! - `faults`: tools that fail or panic
//! - `coherence`: whoever reads after a write reads what was written, on any worker of any instance
//! - `flight`: what many ask at the same time is computed once
//! - `outage`: Redis dies, stops, refuses, fails over: no call fails
//! - `mix`: how often the cache answers under the mix of the original document
//! - `hits`: what a hit costs against no call at all; `scripts/bench` runs it
//! - `state`: what outlives processes, and instances that must not share its directory
//! - `keys`: the keys that seal sessions; `sessions`: legacy sessions, at any worker
//! - `cache_ctl`: operators look at the shared cache and change it
//! - `limits`: rates and connections, over all workers
//! - `access`: tokens, Host, Origin, size of a body
//! - `bad_input`: broken and hostile calls change nothing
//! - `headers`: the table of headers and `_meta` of MCP 2026-07-28
//! - `conformance`: the official suite, on one instance, over two, while workers die
//! - `protocol`: what MCP demands and the suite does not check
//! - `listening`: streams of changes in both eras
//! - `asking`: calls that ask their client, in rounds or on a stream, and take the answers at any worker
//! - `metrics`: what is counted is what was sent
//! - `alone`: commands that run without the server, and beside it
//! - `stdio`: MCP over standard input and output
//! - `documents`: what the documents say exists
//! - `clients`: SDKs of Python and TypeScript, FastMCP, the inspector, mcpcheck
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stderr, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod adoption;
mod alone;
mod asking;
mod bad_input;
mod cache_ctl;
mod cache_file;
mod chaos;
mod chunks;
mod clients;
mod coherence;
mod conformance;
mod control;
mod crash;
mod crash_loop;
mod documents;
mod drain;
mod executor;
mod faults;
mod flight;
mod hang;
mod headers;
mod hits;
mod idempotency;
mod keys;
mod lame_duck;
mod lane;
mod limits;
mod listening;
mod logs;
mod metrics;
mod mix;
mod outage;
mod protocol;
mod recycle;
mod reload;
mod resources;
mod resume;
mod rolling;
mod scarce;
mod session_streams;
mod sessions;
mod settings;
mod start;
mod state;
mod stdio;
mod stop;
mod streams;
mod tasks;
mod together;
mod told;
mod upgrade;

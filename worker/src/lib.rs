//! The server processes: a worker serves the public endpoint, the admin process serves metrics and keeps house. The only crate
//! that knows actix.
//!
//! # Layout
//! - `process`: what both kinds inherit from the supervisor, and how they end; `inherit`: descriptors by number
//! - `link`: the process's end of the link to the supervisor; `orders`: what both kinds do when they are told;
//!   `signals`: what the system may send
//! - `worker`: the life of a worker: build, warm up, serve; `drain`: how it takes leave; `app`: what its requests share;
//!   `live`: the settings that change meanwhile
//! - `connections`: connections, whoever accepted them: how many, how they are served, when they end
//! - `assembly`: store, tools and executor, joined
//! - `exchange`: one request of the protocol, served whatever transport it came over
//! - `bearer`: the token of a request, for both listeners
//! - `public`: the public endpoint; `public::mcp` and `public::seed` are its dialects
//! - `stdio`: MCP over standard input and output, in one process that runs alone
//! - `admin`: the admin process: its listener, and the chores of the machine
//! - `watcher`: edits of the tree by hand
//! - `keys`: the keys that seal sessions; `sessions`: legacy sessions, without memory of idle ones
//! - `heartbeat`: the thread that serves says that it runs
//! - `epochs`: the tree's epoch on the shared memory
//! - `faults`: what a worker does wrong on purpose, for tests
//!
//! # Invariants
//! - Nothing blocks the actix thread; files are touched on the pool only.
//! - A request is executed where it was accepted.
//! - No state that a client relies on lives in a worker: any worker answers any request.
//! - A process that loses its supervisor drains and ends.

mod admin;
mod app;
mod assembly;
mod bearer;
mod connections;
mod drain;
mod epochs;
mod error;
mod exchange;
mod faults;
mod heartbeat;
mod inherit;
mod keys;
mod link;
mod live;
mod orders;
mod process;
mod public;
mod sessions;
mod signals;
mod stdio;
mod watcher;
mod worker;

pub use admin::{CacheAnswer, CacheQuestion, run_admin};
pub use assembly::{Assembly, Memory};
pub use error::WorkerError;
pub use faults::Faults;
pub use keys::KeysError;
pub use process::{Boot, Build, Exit, Logs};
pub use stdio::run_stdio;
pub use worker::run_worker;

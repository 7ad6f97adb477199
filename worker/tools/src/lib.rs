//! Tools: what they are, who runs them, and the ones built in.
//!
//! # Layout
//! - `tool`: the trait: what a tool says of itself, and how its results are kept
//! - `call`: what a call brings beside its arguments; `principal`: who calls; `idempotency`: the key of a write sent again
//! - `error`: what a caller is told when a tool cannot or will not
//! - `registry`: the tools of a process by name, with their compiled schemas
//! - `arguments`: the JSON text of a call, read strictly; `canonical`: one text for all ways to write it
//! - `executor`: the one path every call takes, whatever dialect it came in
//! - `patience`: how long a read may take, its client's time to answer not counted
//! - `panics`: in a tool an error of one call, elsewhere the end of the process
//! - `stop`: why a call ends without a result; `answers`: whether a client's answer is one to what it was asked
//! - `offers`: prompts, resources, completions; `methods`: the methods of the protocol over them, as tools no list shows
//! - `touched`: what writes have touched, told to those who watch resources
//! - `slots`: how many calls of one tool run, the places they leave to others while they ask, and how much is not finished
//! - `pool`: bounded threads for work that blocks or computes
//! - `builtin`: tools, resources, prompts and completions over OpenSpec changes
//!
//! # Invariants
//! - Nothing here knows HTTP or actix: a dialect hands in a name and the JSON text of the arguments, and wraps what comes back.
//! - A panic in a tool becomes an error of that call and is counted; the process lives on.
//! - A tool that writes is never cut off by its deadline: its caller learns what became of the write.
//! - Nor by the end of its caller: a write is a task of its own, and a process that takes leave waits for it.
//! - What a write may have changed is bumped before the write is answered, whatever came of it, and after the store's index has moved on.
//! - A private result is answered to the same tenant, principal and scopes only; the token never enters a key.
//! - Nothing blocks the thread that calls the executor: such work goes to the pool, whose queue has a limit.

mod answers;
mod arguments;
mod builtin;
mod call;
mod canonical;
mod error;
mod executor;
mod idempotency;
pub mod methods;
mod offers;
pub mod panics;
mod patience;
mod pool;
mod principal;
mod registry;
mod slots;
mod stop;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod testing;
mod tool;
pub mod touched;

pub use answers::check_answer;
pub use builtin::{Inventory, builtin_completions, builtin_prompts, builtin_resources, builtin_tools, tags};
pub use call::Call;
pub use canonical::digest as arguments_digest;
pub use error::{ToolError, code};
pub use executor::{Answer, Backing, Cut, Executor, Limits, Turn};
pub use idempotency::{IdempotencyKey, NoKey};
pub use offers::{
    Additions, Completer, Completion, Prompt, PromptMessage, Reference, ResourcePage, Resources, Role, Typed,
};
pub use pool::Pool;
pub use principal::{Principal, Scopes};
pub use registry::{Registry, RegistryError};
pub use stop::Stop;
pub use task_mcp_cache::Tag;
pub use tool::{Aftermath, BoxFuture, CachePolicy, Output, Partition, TaskSupport, Tool};

//! The tasks extension: work its client asks after instead of waiting for it.
//!
//! A task is a record in the state before its client hears of it, so any worker tells how it stands. The worker that made it runs it;
//! what a client sends to another worker reaches it over the bus, or at its next look at the record. Every change is made of the
//! record as it was seen, so of two that differ one is made.
//!
//! - `create`: a call that becomes a task; `methods`: `tasks/get`, `tasks/update`, `tasks/cancel`
//! - `work`: what a record says beyond its status; `wire`: the form its client is given; `changes`: how it is changed
//! - `run`: one run of a task; `watcher`: what it hears meanwhile; `context`: its side of its client; `runs`: all runs of this worker
//! - `care`: tasks whose worker died or left
//!
//! Source: `io.modelcontextprotocol/tasks`, revision 2026-07-28.

mod care;
mod changes;
mod context;
mod create;
mod methods;
mod run;
mod runs;
mod watcher;
mod wire;
mod work;

use std::fmt::Write as _;

use task_mcp_mcp::{Capability, Era, Reply, Request, RpcError};
use task_mcp_tools::{Principal, TaskSupport};

pub(crate) use self::care::keep;
pub(crate) use self::create::create;
pub(crate) use self::methods::{cancel, detailed, get, update};
pub(crate) use self::runs::{Leave, TaskRuns};
use super::client::Client;
use crate::app::App;

/// Whether a call of that tool becomes a task.
///
/// # Errors
/// It has to, and its client cannot take one.
pub(crate) fn becomes_task(app: &App, request: &Request<'_>, client: &Client, tool: &str) -> Result<bool, RpcError> {
    match (app.executor.task_support(tool), takes_tasks(request, client)) {
        (TaskSupport::Never, _) | (TaskSupport::Optional, false) => Ok(false),
        (TaskSupport::Optional | TaskSupport::Required, true) => Ok(true),
        (TaskSupport::Required, false) => Err(RpcError::missing_capability(Capability::Tasks)),
    }
}

/// Whose tasks a principal's are.
pub(crate) fn owner(principal: &Principal) -> String {
    principal.person().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The extension exists in the modern era only.
fn takes_tasks(request: &Request<'_>, client: &Client) -> bool {
    request.era == Era::Modern && client.capabilities.has(Capability::Tasks)
}

/// The refusal of a client that has not declared the extension.
fn without_extension(request: &Request<'_>, client: &Client) -> Option<Reply> {
    (!takes_tasks(request, client)).then(|| Reply::refusal(request, RpcError::missing_capability(Capability::Tasks)))
}

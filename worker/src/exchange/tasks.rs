//! The tasks extension: work its client asks after instead of waiting for it.
//!
//! Source: `io.modelcontextprotocol/tasks`, revision 2026-07-28.

use actix_web::web::Data;
use serde_json::Value;
use task_mcp_mcp::{Answers, Capability, Questions, Reply, Request, RpcError, Unanswered};

use super::client::Client;
use crate::app::App;

/// Asks the client of a task.
#[derive(Debug)]
pub(crate) struct TaskAsking {}

impl TaskAsking {
    /// Leaves the questions with the task and waits for all answers.
    pub(crate) async fn ask(&self, _questions: &Questions) -> Result<Answers, Unanswered> {
        Err(Unanswered::Unavailable)
    }
}

/// The task of that id as its client is told of it, without being asked; `None` if it is none of this client's.
pub(crate) async fn detailed(_app: &Data<App>, _client: &Client, _id: &str) -> Option<Value> {
    None
}

/// `tasks/get`.
pub(crate) async fn get(_app: &Data<App>, request: &Request<'_>, client: &Client, _id: &str) -> Reply {
    unknown(request, client)
}

/// `tasks/update`.
pub(crate) async fn update(
    _app: &Data<App>,
    request: &Request<'_>,
    client: &Client,
    _id: &str,
    _responses: &str,
) -> Reply {
    unknown(request, client)
}

/// `tasks/cancel`.
pub(crate) async fn cancel(_app: &Data<App>, request: &Request<'_>, client: &Client, _id: &str) -> Reply {
    unknown(request, client)
}

fn unknown(request: &Request<'_>, client: &Client) -> Reply {
    if client.capabilities.has(Capability::Tasks) {
        return Reply::refusal(request, RpcError::invalid_params("Failed to retrieve task: Task not found"));
    }
    Reply::refusal(request, RpcError::missing_capability(Capability::Tasks))
}

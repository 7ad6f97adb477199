//! `tasks/get`, `tasks/update`, `tasks/cancel`: at any worker, whoever runs the task.

use actix_web::web::Data;
use serde_json::{Map, Value};
use task_mcp_mcp::{Reply, Request, RpcError};
use task_mcp_state::StateError;

use super::care::look;
use super::changes::{Step, change};
use super::work::Work;
use super::{owner, wire, without_extension};
use crate::app::App;
use crate::exchange::client::Client;

/// `tasks/get`.
pub(crate) async fn get(app: &Data<App>, request: &Request<'_>, client: &Client, id: &str) -> Reply {
    if let Some(refusal) = without_extension(request, client) {
        return refusal;
    }
    let found = look(app, &owner(&client.principal), id).await;
    match found.map(|found| found.and_then(|task| Some((Work::of(&task)?, task)))) {
        Ok(Some((work, task))) => {
            let object = wire::detailed(&task, work).to_string();
            Reply::of_object(&app.engine, request, "complete", object.as_bytes())
        }
        Ok(None) => Reply::refusal(request, unknown()),
        Err(error) => Reply::refusal(request, unavailable(&error)),
    }
}

/// The task as `tasks/get` would tell of it now; `None` if the owner has no such task, or the state cannot be asked.
pub(crate) async fn detailed(app: &Data<App>, owner: &str, id: &str) -> Option<Value> {
    let task = look(app, owner, id).await.ok()??;
    Some(wire::detailed(&task, Work::of(&task)?))
}

/// `tasks/update`.
pub(crate) async fn update(
    app: &Data<App>,
    request: &Request<'_>,
    client: &Client,
    id: &str,
    responses: &str,
) -> Reply {
    if let Some(refusal) = without_extension(request, client) {
        return refusal;
    }
    let Ok(responses) = serde_json::from_str::<Map<String, Value>>(responses) else {
        let text = "the field `params.inputResponses` must be an object";
        return Reply::refusal(request, RpcError::invalid_params(text));
    };
    let owner = owner(&client.principal);
    let taken = change(app.state.tasks(), &owner, id, |task, work| {
        if task.status.is_final() {
            return Step::Keep(Ok(()));
        }
        match work.take_answers(&responses) {
            Ok(0) => Step::Keep(Ok(())),
            Ok(_) => Step::Put(work.status(), Ok(())),
            Err(error) => Step::Keep(Err(error)),
        }
    });
    match taken.await {
        Ok(Some(Ok(()))) => acknowledged(app, request),
        Ok(Some(Err(error))) => Reply::refusal(request, error),
        Ok(None) => Reply::refusal(request, unknown()),
        Err(error) => Reply::refusal(request, unavailable(&error)),
    }
}

/// `tasks/cancel`: whoever runs the task hears of it.
pub(crate) async fn cancel(app: &Data<App>, request: &Request<'_>, client: &Client, id: &str) -> Reply {
    if let Some(refusal) = without_extension(request, client) {
        return refusal;
    }
    let owner = owner(&client.principal);
    let given_up = change(app.state.tasks(), &owner, id, |task, work| {
        if task.status.is_final() || work.is_given_up {
            return Step::Keep(());
        }
        work.is_given_up = true;
        Step::Put(task.status, ())
    });
    match given_up.await {
        Ok(Some(())) => {
            // If nobody runs it, this ends it.
            let _ = look(app, &owner, id).await;
            acknowledged(app, request)
        }
        Ok(None) => Reply::refusal(request, unknown()),
        Err(error) => Reply::refusal(request, unavailable(&error)),
    }
}

fn acknowledged(app: &App, request: &Request<'_>) -> Reply {
    Reply::complete(&app.engine, request, 0, |_| {})
}

/// What is of somebody else does not exist.
fn unknown() -> RpcError {
    RpcError::invalid_params(
        "Task not found: the field `params.taskId` names no task of this client; it may have expired (state.task_ttl_s)",
    )
}

fn unavailable(error: &StateError) -> RpcError {
    RpcError::internal(format!("the task cannot be reached now, try again: {error}"))
}

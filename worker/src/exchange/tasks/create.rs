//! A call that becomes a task.

use std::sync::{Arc, Mutex, PoisonError};

use actix_web::web::Data;
use serde_json::Value;
use task_mcp_mcp::{
    Answers, CallContext, Change, ClientCapabilities, ContextFuture, Invocation, LogLevel, NoChunks, Questions, Reply,
    Request, Unanswered,
};
use task_mcp_state::{NewTask, StateError, TaskStatus};
use task_mcp_telemetry::TaskOutcome;
use task_mcp_tools::{Call, Stop, ToolError, code};

use super::work::{Caller, Work};
use super::{run, wire};
use crate::app::App;
use crate::exchange::client::Client;
use crate::exchange::context::Context;

/// Makes a task of a call and begins to run it. `context` is the call's own: what the tool has to know before is asked there.
///
/// # Errors
/// What the call is to be answered with instead.
pub(crate) async fn create(
    app: &Data<App>,
    request: &Request<'_>,
    invocation: &Invocation<'_>,
    client: &Client,
    context: &Arc<Context>,
) -> Result<Reply, Stop> {
    let before = Arc::new(Remembering { context: Arc::clone(context), answered: Mutex::default() });
    let call = Call::new(client.principal.clone()).with_context(Arc::clone(&before) as _);
    if let Err(stop) = app.executor.prepare_task(&call, &invocation.name, invocation.arguments).await {
        before.undone().await;
        return Err(stop);
    }
    let mut work = Work {
        tool: invocation.name.to_string(),
        arguments: invocation.arguments.to_owned(),
        caller: Caller::of(client),
        resumes: app.executor.resumes(&invocation.name),
        deaths: 0,
        has_begun: false,
        is_given_up: false,
        message: None,
        asked: Vec::new(),
        outcome: None,
    };
    for (about, questions, answers) in before.take() {
        work.answered_before(&about, &questions, &answers);
    }
    let limits = app.live.load().tasks;
    let owner = work.caller.owner();
    let new = NewTask { status: TaskStatus::Working, ttl: limits.ttl, data: work.to_json() };
    let (task, running) = match app.state.tasks().create(&owner, new, limits.per_principal).await {
        Ok(made) => made,
        Err(error) => {
            before.undone().await;
            return Err(refusal(&error).into());
        }
    };
    app.metrics.mcp.task(TaskOutcome::Created);
    let reply = Reply::of_object(&app.engine, request, "task", &wire::created(&task, &work));
    run::spawn(app, &owner, task, work, running);
    Ok(reply)
}

fn refusal(error: &StateError) -> ToolError {
    match error {
        StateError::TooMany { limit, .. } => {
            let message = format!("{limit} of this principal's tasks are alive already (limits.tasks_per_principal)");
            ToolError::new(code::OVERLOADED, message)
                .with_hint("wait until one has ended, or cancel one with tasks/cancel; nothing was done")
        }
        StateError::TooLarge { .. } => ToolError::new(code::INVALID_INPUT, format!("the call is too large: {error}"))
            .with_hint("send smaller arguments; nothing was done"),
        _ => {
            tracing::debug!(error = %error, "A task was refused for want of the state.");
            ToolError::new(code::INTERNAL_ERROR, "the task could not be kept")
                .with_hint("try again later; nothing was done; /readyz tells how the state stands")
        }
    }
}

/// A call's context that remembers what was answered.
struct Remembering {
    context: Arc<Context>,
    answered: Mutex<Vec<(String, Questions, Answers)>>,
}

impl Remembering {
    fn take(&self) -> Vec<(String, Questions, Answers)> {
        std::mem::take(&mut *self.answered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl CallContext for Remembering {
    fn capabilities(&self) -> ClientCapabilities {
        self.context.capabilities()
    }

    fn progress(&self, done: f64, total: Option<f64>, message: Option<&str>) {
        self.context.progress(done, total, message);
    }

    fn log(&self, level: LogLevel, logger: Option<&str>, data: &Value) {
        self.context.log(level, logger, data);
    }

    fn ask<'a>(&'a self, about: &'a str, questions: &'a Questions) -> ContextFuture<'a, Result<Answers, Unanswered>> {
        Box::pin(async move {
            let answers = self.context.ask(about, questions).await?;
            let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            answered.push((about.to_owned(), questions.clone(), answers.clone()));
            Ok(answers)
        })
    }

    fn undone(&self) -> ContextFuture<'_, ()> {
        self.context.undone()
    }

    fn release_stream(&self) {
        self.context.release_stream();
    }

    fn chunk<'a>(&'a self, _: &'a str) -> ContextFuture<'a, Result<(), NoChunks>> {
        Box::pin(async { Err(NoChunks::Unsupported) })
    }

    fn notify(&self, change: &Change) {
        self.context.notify(change);
    }

    fn cancelled(&self) -> ContextFuture<'_, ()> {
        self.context.cancelled()
    }
}

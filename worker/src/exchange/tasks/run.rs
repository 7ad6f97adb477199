//! One run of a task, from its turn to its end.
//!
//! A run ends early when its client gives the task up, when it is not its own any more, or when its worker leaves. What only reads,
//! has not begun, or waits for its client is dropped then. A write that has begun goes on: it is told that it is given up
//! ([`Call::cancelled`](task_mcp_tools::Call::cancelled), its questions fail), and its task ends with what it came to, or as cancelled
//! if it says that nothing was done. That a write begins is kept before it does, so that one whose worker dies is never said to be
//! cancelled.
//!
//! Nothing runs while a task waits for its client, so a worker that leaves does not wait for it: another worker takes it over, or, if it
//! cannot be run again, it fails.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use serde_json::Value;
use task_mcp_mcp::{CallResult, RpcError};
use task_mcp_state::{Running, StateError, Task, TaskStatus, Tasks, Transition};
use task_mcp_telemetry::TaskOutcome;
use task_mcp_tools::{Answer, Call, Stop, ToolError, Turn, code};

use super::changes::{Step, change};
use super::context::TaskContext;
use super::runs::Leave;
use super::watcher::{News, Watcher};
use super::work::Work;
use crate::app::App;

/// Pause after the end of a task could not be kept, doubled with each failure in a row.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// How a run ended.
enum End {
    Completed(Value),
    Failed(RpcError),
    Cancelled,
    /// Another worker is to run it.
    HandedOver,
    /// Nobody is to hear of it.
    Dropped,
}

/// Begins to run a task of which others were told that this process does: `running`.
pub(super) fn spawn(app: &Data<App>, owner: &str, task: Task, work: Work, running: Running) {
    let counted = app.tasks.begin();
    let (app, owner) = (app.clone(), owner.to_owned());
    tokio::spawn(async move {
        let _until_the_end = (running, counted);
        let end = match app.executor.turn(&work.tool) {
            Some(turn) => run(&app, &owner, &task, &work, &turn).await,
            None => End::Failed(RpcError::internal("the tool is gone")),
        };
        finish(&app, &owner, &task.id, end).await;
    });
}

async fn run(app: &App, owner: &str, task: &Task, work: &Work, turn: &Turn) -> End {
    let is_read_only = app.executor.is_read_only(&work.tool);
    let context = Arc::new(TaskContext::new(&app.state, &app.metrics.mcp, owner, task, work, turn));
    let call = Call::new(work.caller.principal())
        .with_idempotency(work.caller.idempotency())
        .with_context(Arc::clone(&context) as _);
    let mut watcher = Watcher::new(&app.state, owner, &task.id, &context, app.tasks.leaves());
    let mut execution = Box::pin(async {
        turn.take().await;
        if !is_read_only && let Err(error) = note_begin(app, owner, &task.id).await {
            return Err(Stop::Protocol(error)).into();
        }
        app.executor.execute_task(&call, turn, &work.arguments).await
    });
    let (mut is_given_up, mut is_stopped, mut left) = (false, false, Leave::Stay);
    let given_up = || if work.has_begun { End::Failed(died()) } else { End::Cancelled };
    loop {
        let news = tokio::select! {
            biased;
            Answer { outcome, .. } = &mut execution => {
                return match outcome {
                    Err(stop) if is_stopped && app.executor.did_nothing(turn, &stop) => stopped(),
                    Err(stop) if is_given_up && app.executor.did_nothing(turn, &stop) => given_up(),
                    outcome => ended(outcome),
                };
            }
            news = watcher.next() => news,
            // Of one that asks while its worker leaves.
            () = context.begins_to_wait(), if left != Leave::Stay && !is_stopped => News::Leaves(left),
        };
        let can_be_dropped = is_read_only || !turn.has_begun();
        match news {
            News::GivenUp => {
                context.give_up();
                is_given_up = true;
                if can_be_dropped {
                    return given_up();
                }
            }
            News::Lost => {
                context.give_up();
                return End::Dropped;
            }
            News::Leaves(Leave::Stay) => {}
            News::Leaves(leave) => {
                left = leave;
                let waits = context.waits();
                if work.resumes && (waits || !turn.has_begun()) {
                    context.give_up();
                    return End::HandedOver;
                }
                if waits && can_be_dropped {
                    return stopped();
                }
                if leave == Leave::Everything {
                    return cut(work, can_be_dropped);
                }
                if waits {
                    // Its question fails, and it ends by itself.
                    context.give_up();
                    is_stopped = true;
                }
            }
        }
    }
}

/// What becomes of a task that waits for its client when its worker leaves.
fn stopped() -> End {
    End::Failed(RpcError::internal("the server stopped while the task waited for its client; call again"))
}

/// Keeps that a write begins, before it does: should its worker die, others know that something may have been done. It does not return
/// if nobody waits for the run any more, of which the watcher hears.
///
/// # Errors
/// It cannot be kept; nothing was done.
async fn note_begin(app: &App, owner: &str, id: &str) -> Result<(), RpcError> {
    let (mut pause, tasks) = (RETRY, app.state.tasks());
    loop {
        let noted = change(tasks, owner, id, |task, work| {
            if task.status.is_final() || work.is_given_up || !tasks.is_mine(task) {
                return Step::Keep(false);
            }
            if work.has_begun {
                return Step::Keep(true);
            }
            work.has_begun = true;
            Step::Put(task.status, true)
        });
        match noted.await {
            Ok(Some(true)) => return Ok(()),
            Ok(_) => std::future::pending().await,
            Err(StateError::Full { .. }) => {
                return Err(RpcError::internal("the state is full (state.max_bytes); nothing was done"));
            }
            Err(error) => {
                tracing::debug!(error = %error, task = id, "That a task begins could not be kept; it is tried again.");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// What becomes of a task that is still running when its worker ends.
fn cut(work: &Work, can_be_dropped: bool) -> End {
    match (work.resumes, can_be_dropped) {
        (true, true) => End::HandedOver,
        // It writes for as long as this process lives; then others find that its worker is gone.
        (true, false) => End::Dropped,
        (false, true) => End::Failed(RpcError::internal("the server stopped before the task was done")),
        (false, false) => {
            let text = "the server stopped before the task was done; look what was done before you call again";
            End::Failed(RpcError::internal(text))
        }
    }
}

fn ended(outcome: Result<CallResult, Stop>) -> End {
    match outcome {
        Ok(result) => End::Completed(json(&result)),
        Err(Stop::Error(error)) => End::Completed(json(&error.to_result())),
        Err(Stop::Protocol(error)) => End::Failed(error),
        // Its context never says so.
        Err(Stop::NeedsInput { .. }) => End::Failed(RpcError::internal("the task stopped at a question")),
    }
}

/// The object of a `CallToolResult`.
fn json(result: &CallResult) -> Value {
    let mut bytes = Vec::with_capacity(result.size_hint());
    bytes.push(b'{');
    result.write_fields(&mut bytes);
    bytes.push(b'}');
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Keeps what a run came to. As long as the state cannot be used, it is tried again: the task is said to be alive meanwhile.
async fn finish(app: &App, owner: &str, id: &str, mut end: End) {
    let (mut pause, mut has_shrunk, tasks) = (RETRY, false, app.state.tasks());
    loop {
        let kept = match &end {
            End::Dropped => return,
            End::HandedOver => hand_over(app, owner, id).await,
            End::Completed(_) | End::Failed(_) | End::Cancelled => {
                let is_final = |task: &Task| task.status.is_final() || !tasks.is_mine(task);
                keep_end(app, owner, id, &end, is_final).await
            }
        };
        match kept {
            Ok(()) => return,
            Err(StateError::TooLarge { bytes, limit_bytes, .. }) => {
                let text = format!("the result has {bytes} bytes; a task can keep {limit_bytes} bytes");
                let error = ToolError::new(code::RESPONSE_TOO_LARGE, text)
                    .with_hint("what the tool was to write is written; ask for less");
                end = End::Completed(json(&error.to_result()));
            }
            // What is smaller than the record may find room; until it does, it is tried again.
            Err(StateError::Full { .. }) if !has_shrunk => {
                has_shrunk = true;
                tracing::warn!(
                    task = id,
                    "What a task came to could not be kept: the state is full (state.max_bytes)."
                );
                end = shrunk(end);
            }
            Err(error) => {
                tracing::debug!(error = %error, task = id, "The end of a task could not be kept; it is tried again.");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// What is kept of an end for which the state has no room.
fn shrunk(end: End) -> End {
    match end {
        End::Completed(_) | End::Failed(_) => End::Failed(RpcError::internal(
            "the result could not be kept: the state is full (state.max_bytes); look what was done before you call again",
        )),
        End::Cancelled | End::HandedOver | End::Dropped => end,
    }
}

async fn keep_end(
    app: &App,
    owner: &str,
    id: &str,
    end: &End,
    is_over: impl Fn(&Task) -> bool,
) -> Result<(), StateError> {
    let kept = change(app.state.tasks(), owner, id, |task, work| {
        if is_over(task) {
            return Step::Keep(None);
        }
        let (status, outcome) = apply(end, work);
        Step::Put(status, Some(outcome))
    });
    if let Some(Some(outcome)) = kept.await? {
        app.metrics.mcp.task(outcome);
    }
    Ok(())
}

fn apply(end: &End, work: &mut Work) -> (TaskStatus, TaskOutcome) {
    match end {
        End::Completed(result) => {
            work.end(None, Some(result.clone()));
            (TaskStatus::Completed, TaskOutcome::Completed)
        }
        End::Failed(error) => {
            work.end(Some(error.message.clone()), Some(error.to_json()));
            (TaskStatus::Failed, TaskOutcome::Failed)
        }
        _ => {
            work.end(Some("The client gave the task up.".to_owned()), None);
            (TaskStatus::Cancelled, TaskOutcome::Cancelled)
        }
    }
}

/// Leaves the task to other workers, who are told.
async fn hand_over(app: &App, owner: &str, id: &str) -> Result<(), StateError> {
    let tasks: &Tasks = app.state.tasks();
    while let Some(task) = tasks.get(owner, id).await? {
        if task.status.is_final() || !tasks.is_mine(&task) {
            break;
        }
        if let Transition::Made(_) = tasks.hand_over(owner, &task, task.data.clone()).await? {
            tracing::info!(task = id, "A task is left to another worker, because this one ends.");
            super::care::tell_left(app, owner, id);
            break;
        }
    }
    Ok(())
}

/// The end of a task that nobody runs. One that was handed over had done nothing, or may be run again.
fn orphaned(work: &Work, is_handed_over: bool) -> End {
    match work.is_given_up {
        true if is_handed_over || !work.has_begun => End::Cancelled,
        false if is_handed_over => End::Failed(RpcError::internal("the server stopped before the task was done")),
        _ => End::Failed(died()),
    }
}

fn died() -> RpcError {
    RpcError::internal("the worker that ran the task died; look what was done before you call again")
}

/// Ends a task that nobody runs; whether this did it.
///
/// # Errors
/// It cannot be kept.
pub(super) async fn end_orphan(app: &App, owner: &str, task: &Task, mut work: Work) -> Result<Transition, StateError> {
    let end = orphaned(&work, app.state.tasks().is_handed_over(task));
    let (status, outcome) = apply(&end, &mut work);
    let made = app.state.tasks().change(owner, task, status, work.to_json()).await?;
    if matches!(made, Transition::Made(_)) {
        app.metrics.mcp.task(outcome);
        if outcome == TaskOutcome::Failed {
            tracing::warn!(task = task.id, tool = work.tool, "The worker of a task died; the task has failed.");
        }
    }
    Ok(made)
}

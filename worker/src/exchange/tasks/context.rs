//! A task's side of its client, which is not there: it asks after the task, and finds there what it is to know.

use serde_json::Value;
use task_mcp_mcp::{
    Answers, CallContext, Change, ClientCapabilities, ContextFuture, LogLevel, NoChunks, Questions, Unanswered,
};
use task_mcp_state::{State, Task};
use task_mcp_telemetry::{McpMetrics, QuestionOutcome};
use task_mcp_tools::Turn;
use tokio::sync::watch;

use super::changes::{Step, change};
use super::work::Work;
use crate::exchange::context::publish;

/// Longest message of a task's status, in characters: it is written anew with each change of the record.
const MESSAGE_CHARS: usize = 512;

/// A task's side of its client.
pub(super) struct TaskContext {
    state: State,
    metrics: McpMetrics,
    owner: String,
    id: String,
    capabilities: ClientCapabilities,
    turn: Turn,
    /// What its client is to be told of how it stands.
    message: watch::Sender<String>,
    /// The record as the watcher saw it last.
    seen: watch::Sender<Option<Task>>,
    /// Nobody waits for what the run comes to.
    is_given_up: watch::Sender<bool>,
    /// Questions that are waited for.
    waiting: watch::Sender<usize>,
}

impl TaskContext {
    pub(super) fn new(state: &State, metrics: &McpMetrics, owner: &str, task: &Task, work: &Work, turn: &Turn) -> Self {
        Self {
            state: state.clone(),
            metrics: metrics.clone(),
            owner: owner.to_owned(),
            id: task.id.clone(),
            capabilities: work.caller.capabilities(),
            turn: turn.clone(),
            message: watch::Sender::new(String::new()),
            seen: watch::Sender::new(None),
            is_given_up: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
        }
    }

    pub(super) fn messages(&self) -> watch::Receiver<String> {
        self.message.subscribe()
    }

    /// The record is like this now.
    pub(super) fn saw(&self, task: Task) {
        self.seen.send_replace(Some(task));
    }

    /// Nobody waits any more for what the run comes to.
    pub(super) fn give_up(&self) {
        self.is_given_up.send_replace(true);
    }

    /// Whether it does nothing but wait for its client.
    pub(super) fn waits(&self) -> bool {
        *self.waiting.borrow() > 0
    }

    /// Returns when it does.
    pub(super) async fn begins_to_wait(&self) {
        // It lives as long as this context.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }

    async fn answered(&self, about: &str, questions: &Questions) -> Result<Answers, Unanswered> {
        // Before the questions are put, so that no look that finds an answer is missed.
        let mut seen = self.seen.subscribe();
        if let Some(answers) = self.put(about, questions).await? {
            return Ok(answers);
        }
        questions.iter().for_each(|_| self.metrics.question(QuestionOutcome::Asked));
        let _waiting = Waiting::begin(self);
        let answers = async {
            loop {
                // It lives as long as this context.
                let _ = seen.changed().await;
                let work = seen.borrow_and_update().as_ref().and_then(Work::of);
                if let Some(answers) = work.and_then(|work| work.answers(about, questions)) {
                    // Others run meanwhile.
                    self.turn.take().await;
                    return answers;
                }
            }
        };
        let answered = tokio::select! {
            answers = answers => Ok(answers),
            () = self.cancelled() => Err(Unanswered::Gone),
        };
        let outcome = if answered.is_ok() { QuestionOutcome::Answered } else { QuestionOutcome::Unanswered };
        questions.iter().for_each(|_| self.metrics.question(outcome));
        answered
    }

    /// Puts the questions into the record, unless they were answered before.
    async fn put(&self, about: &str, questions: &Questions) -> Result<Option<Answers>, Unanswered> {
        let tasks = self.state.tasks();
        let put = change(tasks, &self.owner, &self.id, |task, work| {
            if task.status.is_final() || work.is_given_up || !tasks.is_mine(task) {
                return Step::Keep(Err(Unanswered::Gone));
            }
            if let Some(answers) = work.answers(about, questions) {
                return Step::Keep(Ok(Some(answers)));
            }
            let before = work.clone();
            if work.ask(about, questions).is_err() {
                return Step::Keep(Err(Unanswered::Refused("a task asked more questions than it may".to_owned())));
            }
            // Of a run that was begun anew they may be open already.
            if *work == before && task.status == work.status() {
                return Step::Keep(Ok(None));
            }
            Step::Put(work.status(), Ok(None))
        });
        match put.await {
            Ok(Some(put)) => put,
            Ok(None) => Err(Unanswered::Gone),
            Err(error) => {
                tracing::debug!(error = %error, task = self.id, "A task could not ask its client.");
                Err(Unanswered::Unavailable)
            }
        }
    }
}

/// Leaves the turn to others while it lives.
struct Waiting<'a>(&'a TaskContext);

impl<'a> Waiting<'a> {
    fn begin(context: &'a TaskContext) -> Self {
        context.waiting.send_modify(|waiting| *waiting += 1);
        context.turn.leave();
        Self(context)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

impl CallContext for TaskContext {
    fn capabilities(&self) -> ClientCapabilities {
        self.capabilities
    }

    fn progress(&self, done: f64, total: Option<f64>, message: Option<&str>) {
        let text = match (message, total) {
            (Some(message), _) => message.chars().take(MESSAGE_CHARS).collect(),
            (None, Some(total)) => format!("{done} of {total}"),
            (None, None) => format!("{done}"),
        };
        self.message.send_replace(text);
    }

    /// Tasks send no messages ("Task Status Notifications").
    fn log(&self, _: LogLevel, _: Option<&str>, _: &Value) {}

    fn ask<'a>(&'a self, about: &'a str, questions: &'a Questions) -> ContextFuture<'a, Result<Answers, Unanswered>> {
        Box::pin(async move {
            match questions.beyond(self.capabilities) {
                Some(missing) => Err(Unanswered::Unsupported(missing)),
                None => self.answered(about, questions).await,
            }
        })
    }

    fn chunk<'a>(&'a self, _: &'a str) -> ContextFuture<'a, Result<(), NoChunks>> {
        Box::pin(async { Err(NoChunks::Unsupported) })
    }

    fn notify(&self, change: &Change) {
        publish(self.state.bus(), change);
    }

    fn cancelled(&self) -> ContextFuture<'_, ()> {
        let mut is_given_up = self.is_given_up.subscribe();
        Box::pin(async move {
            // It lives as long as this context.
            let _ = is_given_up.wait_for(|given_up| *given_up).await;
        })
    }
}

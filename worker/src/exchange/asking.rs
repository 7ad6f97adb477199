//! Questions on the stream of a legacy client, whose answers may arrive at any worker.
//!
//! A question is a request from server to client. Its id proves that this server asked it in this session, so a worker that gets an
//! answer needs no memory to know that somebody waits for it: it leaves the answer in a [`Mailbox`], where whoever asked finds it. What
//! was asked and is not answered is told to be cancelled when the call ends, or when its time is over.
//!
//! Source: specification 2025-11-25, "Streamable HTTP", sending messages to the server; "Elicitation", "Sampling", "Roots".

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use task_mcp_mcp::sealed::SealError;
use task_mcp_mcp::{Answers, ContextFuture, Question, Questions, Reply, Response, RpcError, Unanswered, shown};
use task_mcp_scoreboard::unix_ms;
use task_mcp_state::StateError;
use task_mcp_telemetry::QuestionOutcome;
use task_mcp_tools::check_answer;
use tokio::time::Instant;

use super::context::notification;
use super::desk::{Desk, QUESTIONS_MAX};
use super::mailbox::Mailbox;
use super::outlet::{Emission, Outlet};
use super::streams::Streams;
use crate::app::App;
use crate::sessions::{Session, Terms};

/// How long an answer is kept for whoever asked, who looks twice a second: more than a process that is short of time needs.
const KEPT: Duration = Duration::from_secs(60);

/// Asks a client on the stream of its request.
pub(crate) struct SessionAsking {
    mailbox: Arc<dyn Mailbox>,
    desk: Arc<Desk>,
    /// Tells when the process ends.
    streams: Streams,
    /// How long the client may take (`tools.ask_timeout_s`).
    limit: Duration,
}

impl SessionAsking {
    pub(crate) fn new(mailbox: Arc<dyn Mailbox>, desk: &Arc<Desk>, streams: &Streams, limit: Duration) -> Self {
        Self { mailbox, desk: Arc::clone(desk), streams: streams.clone(), limit }
    }

    /// Sends the questions and waits for all answers. A process that takes leave waits for no client: nothing is done before it has
    /// answered, so its call can be made again at another process.
    pub(crate) async fn ask(&self, questions: &Questions, outlet: &Outlet) -> Result<Answers, Unanswered> {
        tokio::select! {
            biased;
            () = self.streams.ending() => Err(Unanswered::Stopping),
            answers = self.answers(questions, outlet) => answers,
        }
    }

    async fn answers(&self, questions: &Questions, outlet: &Outlet) -> Result<Answers, Unanswered> {
        let count = u32::try_from(questions.iter().count()).unwrap_or(u32::MAX);
        let _open = self.desk.questions.try_acquire_many(count).map_err(|_| Unanswered::TooMany(QUESTIONS_MAX))?;
        let deadline = Instant::now() + self.limit;
        let mut open = Open { asking: self, outlet, ids: Vec::new() };
        for (_, question) in questions.iter() {
            let id = self.mailbox.address(self.limit)?;
            open.ids.push(id.clone());
            let request =
                json!({ "jsonrpc": "2.0", "id": id, "method": question.method(), "params": question.params() });
            outlet.send(Emission::Message(request.to_string().into())).await.map_err(|_| Unanswered::Gone)?;
            self.desk.metrics.question(QuestionOutcome::Asked);
        }
        let mut answers = Answers::new();
        for (key, question) in questions.iter() {
            let Some(id) = open.ids.first().cloned() else { break };
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = tokio::select! {
                answer = self.mailbox.receive(&id, left) => answer?.ok_or(Unanswered::TimedOut)?,
                () = outlet.left() => return Err(Unanswered::Gone),
            };
            // It is answered, whatever is in it.
            open.ids.remove(0);
            let read = read(question, &answer);
            let outcome = if read.is_ok() { QuestionOutcome::Answered } else { QuestionOutcome::Refused };
            self.desk.metrics.question(outcome);
            answers.insert(key.to_owned(), read?);
        }
        Ok(answers)
    }
}

/// Questions that are not answered; dropping it takes them back.
struct Open<'a> {
    asking: &'a SessionAsking,
    outlet: &'a Outlet,
    ids: Vec<String>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        for id in &self.ids {
            self.asking.mailbox.forget(id);
            self.asking.desk.metrics.question(QuestionOutcome::Unanswered);
            let params = json!({ "requestId": id, "reason": "the call does not wait for the answer any more" });
            self.outlet.push(notification("notifications/cancelled", &params.to_string()));
        }
    }
}

/// What a client has answered, as it lies in a mailbox.
pub(crate) fn letter(response: &Response<'_>) -> Bytes {
    match response.outcome {
        Ok(result) => format!("{{\"result\":{result}}}").into(),
        Err(error) => format!("{{\"error\":{error}}}").into(),
    }
}

/// The result in a letter, if it answers the question.
fn read(question: &Question, letter: &[u8]) -> Result<Value, Unanswered> {
    #[derive(serde::Deserialize)]
    struct Letter<'a> {
        #[serde(borrow, default)]
        result: Option<&'a RawValue>,
        #[serde(borrow, default)]
        error: Option<&'a RawValue>,
    }
    #[derive(serde::Deserialize)]
    struct Told {
        #[serde(default)]
        message: String,
    }
    let unreadable = || Unanswered::Refused("its answer is not JSON-RPC".to_owned());
    let Letter { result, error } = serde_json::from_slice(letter).map_err(|_| unreadable())?;
    if let Some(error) = error {
        let told: Told = serde_json::from_str(error.get()).map_err(|_| unreadable())?;
        return Err(Unanswered::Refused(shown(&told.message)));
    }
    let result: Value = serde_json::from_str(result.ok_or_else(unreadable)?.get()).map_err(|_| unreadable())?;
    match check_answer(question, &result) {
        Ok(()) => Ok(result),
        Err(problem) => Err(Unanswered::Refused(format!("its result is no answer: {problem}"))),
    }
}

/// Takes a client's answer to a question it was asked in its session; what is wrong, if it is not taken. Of several answers to one
/// question the first counts; one that comes too late is taken and goes nowhere.
pub(crate) async fn take_answer(app: &Data<App>, session: &Session, response: &Response<'_>) -> Result<(), Reply> {
    let Terms { keys, .. } = &*app.sessions.terms();
    match keys.check_question_id(&response.id, &session.sealed.id, unix_ms()) {
        Ok(()) => {}
        Err(SealError::Expired) => return Ok(()),
        Err(error) => {
            tracing::debug!(error = %error, "A client answered what it was not asked.");
            app.desk.metrics.question(QuestionOutcome::Refused);
            let error = RpcError::invalid_request("the field `id` names no question of this server in this session");
            return Err(Reply::error(None, &error));
        }
    }
    let limit = app.live.load().limits.ask_timeout;
    match app.desk.answers.put(&response.id, letter(response), KEPT.min(limit)).await {
        Ok(_) => Ok(()),
        Err(StateError::TooLarge { bytes, limit_bytes, .. }) => {
            let text = format!("the answer has {bytes} bytes, which is over the limit of {limit_bytes} bytes");
            Err(Reply::error(None, &RpcError::invalid_request(text).with_status(413)))
        }
        Err(error) => {
            tracing::debug!(error = %error, "An answer of a client could not be kept.");
            let text = "answers cannot be received now; send it again in a moment";
            Err(Reply::error(None, &RpcError::internal(text).with_status(503)))
        }
    }
}

/// The answers of a session, wherever they arrive.
pub(crate) struct SharedMailbox {
    desk: Arc<Desk>,
    terms: Arc<Terms>,
    session: [u8; 16],
}

impl SharedMailbox {
    pub(crate) fn new(app: &App, session: &Session) -> Self {
        Self { desk: Arc::clone(&app.desk), terms: app.sessions.terms(), session: session.sealed.id }
    }
}

impl Mailbox for SharedMailbox {
    fn address(&self, limit: Duration) -> Result<String, Unanswered> {
        let ends_ms = unix_ms().saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        self.terms.keys.question_id(&self.session, ends_ms).map_err(|_| Unanswered::Unavailable)
    }

    fn receive<'a>(&'a self, id: &'a str, limit: Duration) -> ContextFuture<'a, Result<Option<Bytes>, Unanswered>> {
        Box::pin(async move {
            self.desk.answers.wait(id, limit).await.map_err(|error| {
                tracing::debug!(error = %error, "An answer of a client could not be received.");
                Unanswered::Unavailable
            })
        })
    }

    fn forget(&self, _: &str) {}
}

//! What a call brings beside its arguments.

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use task_mcp_mcp::{Answers, CallContext, Capability, Change, LogLevel, NoChunks, Nobody, Questions};

use crate::executor::no_place_again;
use crate::idempotency::IdempotencyKey;
use crate::patience::Patience;
use crate::principal::Principal;
use crate::slots::Seat;
use crate::stop::Stop;

/// What the executor and a tool know of the call they serve. Cloning is cheap.
#[derive(Clone)]
pub struct Call {
    /// Who calls.
    pub principal: Principal,
    idempotency: Option<IdempotencyKey>,
    context: Arc<dyn CallContext>,
    /// How long it may take, if that is limited: the time in which its client is asked, or reads a piece, does not count.
    patience: Option<Arc<Patience>>,
    /// Its place among the calls of its tool, unless it is a task, which looks after its own.
    seat: Option<Arc<Seat>>,
    /// Whether others get the same result: then nobody can be asked.
    together: bool,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("principal", &self.principal).finish_non_exhaustive()
    }
}

impl Call {
    /// A call of this principal, without idempotency key, whose client hears nothing but its result.
    pub fn new(principal: Principal) -> Self {
        static NOBODY: LazyLock<Arc<dyn CallContext>> = LazyLock::new(|| Arc::new(Nobody));
        Self { principal, idempotency: None, context: Arc::clone(&NOBODY), patience: None, seat: None, together: false }
    }

    /// The same under an idempotency key.
    pub fn with_idempotency(mut self, key: Option<IdempotencyKey>) -> Self {
        self.idempotency = key;
        self
    }

    /// The same with a client at the other end.
    pub fn with_context(mut self, context: Arc<dyn CallContext>) -> Self {
        self.context = context;
        self
    }

    /// Tells the caller how far the call is, if the caller wants to hear it. The numbers grow.
    pub fn report(&self, done: f64, total: Option<f64>, message: Option<&str>) {
        self.context.progress(done, total, message);
    }

    /// A message for the caller, if it wants to hear messages of this level.
    pub fn log(&self, level: LogLevel, logger: Option<&str>, data: &Value) {
        self.context.log(level, logger, data);
    }

    /// Whether the client can do that.
    pub fn can(&self, capability: Capability) -> bool {
        self.context.capabilities().has(capability)
    }

    /// Asks the client; see [`CallContext::ask`]. A tool hands the error on: it may be run again from its beginning with the
    /// answers.
    ///
    /// # Errors
    /// There are no answers yet, or there will be none.
    pub async fn ask(&self, about: &str, questions: &Questions) -> Result<Answers, Stop> {
        if self.together {
            // The executor runs the tool again for this caller alone.
            return Err(Stop::NeedsInput { about: about.to_owned(), questions: questions.clone() });
        }
        let mut asking = self.context.ask(about, questions);
        let answers = tokio::select! {
            biased;
            // Who has answered before is not waited for.
            answers = &mut asking => return Ok(answers?),
            () = std::future::ready(()) => {
                let _stopped = self.patience.as_deref().map(Patience::stop);
                // Clients may take their time, and however many of them do, others can call.
                self.seat.iter().for_each(|seat| seat.leave());
                asking.await?
            }
        };
        match &self.seat {
            Some(seat) if !seat.take_again().await => Err(no_place_again(seat.limit).into()),
            _ => Ok(answers),
        }
    }

    /// Sends a piece of a large result; see [`CallContext::chunk`].
    ///
    /// # Errors
    /// The client is gone, or cannot be sent pieces.
    pub async fn chunk(&self, text: &str) -> Result<(), NoChunks> {
        if self.together {
            // What is kept for others has one piece.
            return Err(NoChunks::Unsupported);
        }
        let _stopped = self.patience.as_deref().map(Patience::stop);
        self.context.chunk(text).await
    }

    /// Tells all clients that wish to know that something has changed.
    pub fn notify(&self, change: &Change) {
        self.context.notify(change);
    }

    /// Gives the connection back until there is an answer; see [`CallContext::release_stream`].
    pub fn release_stream(&self) {
        self.context.release_stream();
    }

    /// Returns when nobody waits for the answer any more.
    pub async fn cancelled(&self) {
        self.context.cancelled().await;
    }

    /// The same, limited in time.
    pub(crate) fn within(mut self, patience: &Arc<Patience>) -> Self {
        self.patience = Some(Arc::clone(patience));
        self
    }

    /// The same, in a place that it leaves to others while its client is asked.
    pub(crate) fn at(mut self, seat: &Arc<Seat>) -> Self {
        self.seat = Some(Arc::clone(seat));
        self
    }

    /// The same for a result that others get too.
    pub(crate) fn together(mut self) -> Self {
        self.together = true;
        self
    }

    /// The call has ended and has done nothing; see [`CallContext::undone`].
    pub(crate) async fn undone(&self) {
        self.context.undone().await;
    }

    pub(crate) fn idempotency(&self) -> Option<&IdempotencyKey> {
        self.idempotency.as_ref()
    }
}

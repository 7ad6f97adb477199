//! What a call may do besides answering: tell how far it is, log for its client, ask it, tell all clients that something has changed.
//! Each transport implements it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use serde_json::{Map, Value, json};

use crate::capabilities::{Capability, ClientCapabilities};
use crate::error::RpcError;
use crate::level::LogLevel;

/// A future on the heap, so that contexts of many kinds fit one pointer.
pub type ContextFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The client's side of one call. Everything but [`ask`](Self::ask) and [`chunk`](Self::chunk) returns at once and says nothing of
/// whether the client heard it: a client that did not ask to hear it, or is gone, is no fault of the call.
pub trait CallContext: Send + Sync {
    /// What the client can do.
    fn capabilities(&self) -> ClientCapabilities;

    /// So much of `total` is done; the numbers grow from one report to the next (specification 2026-07-28, "Progress").
    fn progress(&self, done: f64, total: Option<f64>, message: Option<&str>);

    /// A message for the client, if it wants to hear messages of this level (specification 2025-11-25, "Logging").
    fn log(&self, level: LogLevel, logger: Option<&str>, data: &Value);

    /// Asks the client, and waits for its answers where it can be asked while the call runs.
    ///
    /// `about` names what the questions are about and the state it is in, such as a document with its tag: answers to questions
    /// about another state are not taken, and the questions are asked again. Keys are unique in the call.
    ///
    /// # Errors
    /// [`Unanswered::NotYet`]: the call is to end with it, and is run again from its beginning when the client has answered; what it
    /// has asked before is answered at once then. The other errors are final. A call that writes asks before it does anything: whichever
    /// error it ends with, nothing was done.
    fn ask<'a>(&'a self, about: &'a str, questions: &'a Questions) -> ContextFuture<'a, Result<Answers, Unanswered>>;

    /// The call has ended and has done nothing: answers that may be used once may be used again.
    fn undone(&self) -> ContextFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// A piece of a result that is too large to be held: it goes to the client while the call runs. Returns when there is room for
    /// the next one; a client that reads slowly makes the call slow.
    ///
    /// # Errors
    /// The client is gone, or cannot be sent pieces.
    fn chunk<'a>(&'a self, text: &'a str) -> ContextFuture<'a, Result<(), NoChunks>>;

    /// Tells all clients that wish to know that something has changed.
    fn notify(&self, change: &Change);

    /// Returns when the client wants no answer any more; for a call that has something to tidy up.
    fn cancelled(&self) -> ContextFuture<'_, ()>;

    /// The connection is not needed until there is an answer: its client fetches that later, where it can (specification 2025-11-25,
    /// "Streamable HTTP", sending messages to the server, 6). Elsewhere nothing happens.
    fn release_stream(&self) {}
}

/// What one question asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// The user fills in a form: `params` of `elicitation/create`.
    Elicit {
        /// What is asked, for the user.
        message: String,
        /// JSON Schema of the answer: an object of strings, numbers, booleans and choices.
        schema: Value,
    },
    /// The client's model completes messages: `params` of `sampling/createMessage`.
    Sample(Value),
    /// The client lists its roots.
    Roots,
}

impl Question {
    /// The method on the wire.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Elicit { .. } => "elicitation/create",
            Self::Sample(_) => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    /// What a client needs to answer it.
    pub const fn needs(&self) -> Capability {
        match self {
            Self::Elicit { .. } => Capability::Elicitation,
            Self::Sample(_) => Capability::Sampling,
            Self::Roots => Capability::Roots,
        }
    }

    /// The parameters on the wire. `mode` exists since 2025-11-25, where it may be left out for forms, as it is here.
    pub fn params(&self) -> Value {
        match self {
            Self::Elicit { message, schema } => json!({ "message": message, "requestedSchema": schema }),
            Self::Sample(params) => params.clone(),
            Self::Roots => json!({}),
        }
    }

    /// The request without envelope, as `inputRequests` holds it.
    pub fn to_json(&self) -> Value {
        json!({ "method": self.method(), "params": self.params() })
    }

    /// Reads what [`to_json`](Self::to_json) made; `None` for anything else.
    pub fn of_json(request: &Value) -> Option<Self> {
        let params = request.get("params")?;
        match request.get("method")?.as_str()? {
            "elicitation/create" => {
                let message = params.get("message")?.as_str()?.to_owned();
                Some(Self::Elicit { message, schema: params.get("requestedSchema")?.clone() })
            }
            "sampling/createMessage" => Some(Self::Sample(params.clone())),
            "roots/list" => Some(Self::Roots),
            _ => None,
        }
    }
}

/// Questions under their keys, in the order they were asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Questions(Vec<(String, Question)>);

impl Questions {
    /// One question.
    pub fn one(key: &str, question: Question) -> Self {
        Self(vec![(key.to_owned(), question)])
    }

    /// The same and another one.
    pub fn and(mut self, key: &str, question: Question) -> Self {
        self.0.push((key.to_owned(), question));
        self
    }

    /// Keys and questions.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Question)> {
        self.0.iter().map(|(key, question)| (key.as_str(), question))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first thing a client would have to be able to do and is not.
    pub fn beyond(&self, capabilities: ClientCapabilities) -> Option<Capability> {
        self.0.iter().map(|(_, question)| question.needs()).find(|needed| !capabilities.has(*needed))
    }

    /// Those whose keys `keep` keeps.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(key, _)| keep(key)).cloned().collect())
    }

    /// The map `inputRequests` of the specification.
    pub fn to_json(&self) -> Value {
        Value::Object(self.0.iter().map(|(key, question)| (key.clone(), question.to_json())).collect::<Map<_, _>>())
    }
}

/// The client's results by key: `ElicitResult`, `CreateMessageResult` or `ListRootsResult`.
pub type Answers = BTreeMap<String, Value>;

/// Why there are no answers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unanswered {
    /// They can only come with another request: the call ends and is run again.
    #[error("the client has to be asked first")]
    NotYet {
        /// What the questions are about.
        about: String,
        /// What is to be asked.
        questions: Questions,
    },
    /// The client cannot be asked that.
    #[error("the client has not declared that it can be asked this")]
    Unsupported(Capability),
    /// The client did not answer in time.
    #[error("the client did not answer in time")]
    TimedOut,
    /// The client is gone, or has given up.
    #[error("the client is gone")]
    Gone,
    /// The client answered with an error, or with something that is no answer.
    #[error("the client refused: {0}")]
    Refused(String),
    /// What came with the request is not an answer, or may not be used any more.
    #[error("{0}")]
    Invalid(String),
    /// The answers cannot be received now.
    #[error("answers of clients cannot be received now")]
    Unavailable,
    /// So many questions to clients are open in this process that it asks nothing more.
    #[error("{0} questions to clients are open in this worker already, which is its limit")]
    TooMany(usize),
    /// This process ends, and waits for no client.
    #[error("the server stops; nothing was done")]
    Stopping,
}

impl Unanswered {
    /// The protocol's error for it, where it has one.
    pub fn to_rpc(&self) -> Option<RpcError> {
        match self {
            Self::Unsupported(capability) => Some(RpcError::missing_capability(*capability)),
            Self::Invalid(text) => Some(RpcError::invalid_params(text.clone())),
            _ => None,
        }
    }
}

/// A piece of a result did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoChunks {
    /// The client is gone.
    #[error("the client is gone")]
    Gone,
    /// This way of calling has no pieces.
    #[error("results cannot be sent in pieces on this way")]
    Unsupported,
}

/// Something all clients may want to know of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// `notifications/tools/list_changed`.
    Tools,
    /// `notifications/prompts/list_changed`.
    Prompts,
    /// `notifications/resources/list_changed`.
    Resources,
    /// `notifications/resources/updated`, with the resource's URI.
    Resource(String),
}

/// The context of a call that nobody listens to, as one from a command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl CallContext for Nobody {
    fn capabilities(&self) -> ClientCapabilities {
        ClientCapabilities::NONE
    }

    fn progress(&self, _: f64, _: Option<f64>, _: Option<&str>) {}

    fn log(&self, _: LogLevel, _: Option<&str>, _: &Value) {}

    fn ask<'a>(&'a self, _: &'a str, questions: &'a Questions) -> ContextFuture<'a, Result<Answers, Unanswered>> {
        let missing = questions.beyond(ClientCapabilities::NONE);
        Box::pin(
            async move { missing.map_or_else(|| Ok(Answers::new()), |missing| Err(Unanswered::Unsupported(missing))) },
        )
    }

    fn chunk<'a>(&'a self, _: &'a str) -> ContextFuture<'a, Result<(), NoChunks>> {
        Box::pin(async { Err(NoChunks::Unsupported) })
    }

    fn notify(&self, _: &Change) {}

    fn cancelled(&self) -> ContextFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

//! A request whose envelope, `_meta` and headers are in order: what a transport serves.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::capabilities::ClientCapabilities;
use crate::catalog::List;
use crate::level::LogLevel;
use crate::message::RequestId;
use crate::revision::{Era, Revision};

/// One request. It borrows from the body.
#[derive(Debug)]
pub struct Request<'a> {
    /// What the answer is sent under.
    pub id: RequestId<'a>,
    /// How its client says who it is.
    pub era: Era,
    /// The revision it is in. A legacy client may say it in its handshake alone: then it is that of its session.
    pub revision: Option<Revision>,
    /// What its client can do; of a legacy client the session knows.
    pub capabilities: ClientCapabilities,
    /// What progress is reported under, as JSON, if the client wants to hear of it.
    pub progress_token: Option<&'a str>,
    /// Least severe messages its client wants to hear; of a legacy client the session knows.
    pub log_level: Option<LogLevel>,
    /// The idempotency key in `_meta`, as the client wrote it.
    pub idempotency_key: Option<Cow<'a, str>>,
    /// What is asked for.
    pub method: Method<'a>,
}

/// What is asked for.
#[derive(Debug)]
pub enum Method<'a> {
    /// `initialize`.
    Initialize(Handshake<'a>),
    /// `ping`.
    Ping,
    /// `server/discover`.
    Discover,
    /// A list that is the same for everybody.
    List(List),
    /// `tools/call`.
    CallTool(Invocation<'a>),
    /// `prompts/get`.
    GetPrompt(Invocation<'a>),
    /// `resources/read`; its name is the URI, and its arguments are `{}`.
    ReadResource(Invocation<'a>),
    /// `resources/list`, from this cursor.
    ListResources(Option<Cow<'a, str>>),
    /// `completion/complete`: its parameters as JSON.
    Complete(&'a str),
    /// `logging/setLevel`.
    SetLevel(LogLevel),
    /// `resources/subscribe`: the URI.
    Subscribe(Cow<'a, str>),
    /// `resources/unsubscribe`: the URI.
    Unsubscribe(Cow<'a, str>),
    /// `subscriptions/listen`.
    Listen(Filter),
    /// `tasks/get`: the id.
    GetTask(Cow<'a, str>),
    /// `tasks/update`.
    UpdateTask {
        /// The id.
        id: Cow<'a, str>,
        /// The answers by key: a JSON object.
        responses: &'a str,
    },
    /// `tasks/cancel`: the id.
    CancelTask(Cow<'a, str>),
}

/// What a legacy client begins with.
#[derive(Debug)]
pub struct Handshake<'a> {
    /// The revision both speak from now on: the one asked for if it is a legacy one of this server, else the newest of those.
    pub revision: Revision,
    /// What the client can do.
    pub capabilities: ClientCapabilities,
    /// Its name, as it says itself.
    pub client_name: Cow<'a, str>,
    /// Its version, likewise.
    pub client_version: Cow<'a, str>,
}

/// Something that is run: a tool, a prompt, the reading of a resource. Whether it exists and what its arguments must be is the
/// executor's to say.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// Name of the tool or prompt, or URI of the resource.
    pub name: Cow<'a, str>,
    /// The arguments, a JSON object as the client wrote it; `{}` if it sent none.
    pub arguments: &'a str,
    /// `inputResponses`: a JSON object, if there are any.
    pub responses: Option<&'a RawValue>,
    /// `requestState`, if there is one.
    pub state: Option<Cow<'a, str>>,
}

/// What a stream of `subscriptions/listen` is to tell of.
///
/// Source: specification 2026-07-28, `SubscriptionFilter`; tasks extension, "Task Status Notifications".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// `notifications/tools/list_changed`.
    pub tools: bool,
    /// `notifications/prompts/list_changed`.
    pub prompts: bool,
    /// `notifications/resources/list_changed`.
    pub resources: bool,
    /// URIs for `notifications/resources/updated`.
    pub subscriptions: Vec<String>,
    /// Tasks for `notifications/tasks`.
    pub tasks: Vec<String>,
}

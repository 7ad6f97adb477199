//! What one message leads to.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::batch;
use crate::catalog::{Catalog, List};
use crate::error::RpcError;
use crate::headers::RequestHeaders;
use crate::message::{Message, RequestId, Unreadable};
use crate::meta::Meta;
use crate::params;
use crate::reply::Reply;
use crate::request::{Method, Request};
use crate::revision::{Era, Revision};

/// The protocol engine of one process.
#[derive(Debug)]
pub struct Engine {
    pub(crate) catalog: Catalog,
}

/// What the transport has to do with a message.
#[derive(Debug)]
pub enum Route<'a> {
    /// Send this: the message cannot be served.
    Reply(Reply),
    /// Serve it.
    Request(Box<Request<'a>>),
    /// Send 202 without a body.
    Notification(Notification<'a>),
    /// A client's answer to a question of this server, which exists in the legacy era only.
    Response(Response<'a>),
    /// Serve each of these messages, at most [`BATCH_MAX`](crate::BATCH_MAX), and answer those that are requests in one list. Of a
    /// client of 2025-03-26 only: whether it is one may be known to its session alone, which the transport asks; to any other,
    /// [`Route::unexpected_batch`] is the answer.
    Batch(Vec<&'a RawValue>),
}

impl Route<'_> {
    /// The answer to a batch of a client that does not speak 2025-03-26.
    pub fn unexpected_batch() -> Reply {
        Reply::error(None, &batch::unexpected())
    }
}

/// What a client tells without waiting for an answer.
#[derive(Debug)]
pub enum Notification<'a> {
    /// `notifications/cancelled`: the id of the request, as the client wrote it.
    Cancelled(&'a str),
    /// Anything else: nothing follows from it.
    Other,
}

/// A client's answer.
#[derive(Debug)]
pub struct Response<'a> {
    /// The id of the question.
    pub id: Cow<'a, str>,
    /// The result or the error object, as JSON.
    pub outcome: Result<&'a str, &'a str>,
}

impl Engine {
    /// An engine that tells what `catalog` holds.
    pub fn new(catalog: Catalog) -> Self {
        Self { catalog }
    }

    /// Reads one message and says what it leads to. The checks run in the order the conformance suite wants: the JSON-RPC
    /// envelope (-32700, -32600), `_meta` (-32602), headers against the body (-32020), the version (-32022), the method (-32601), its
    /// parameters (-32602), and last the headers that repeat those (-32020).
    ///
    /// A request is of the modern era if its `_meta` or its header says so or it is `server/discover`, which no other has; of the legacy
    /// era if its header names a legacy revision or nothing says anything.
    pub fn route<'a>(&self, body: &'a [u8], headers: &RequestHeaders<'_>) -> Route<'a> {
        self.route_as(body, Some(headers))
    }

    /// The same for a transport that has no headers, as stdio: nothing is asked of them.
    pub fn route_line<'a>(&self, line: &'a [u8]) -> Route<'a> {
        self.route_as(line, None)
    }

    /// The same for one message of a batch; `headers` are those of the whole, if its transport has any. What may not be part of one is
    /// refused (specification 2025-03-26, "Lifecycle": no `initialize`).
    pub fn route_of_batch<'a>(&self, message: &'a RawValue, headers: Option<&RequestHeaders<'_>>) -> Route<'a> {
        match self.route_as(message.get().as_bytes(), headers) {
            Route::Request(asked) if matches!(asked.method, Method::Initialize(_)) => {
                let error = RpcError::invalid_request("`initialize` may not be part of a batch");
                Route::Reply(Reply::error(Some(asked.id), &error))
            }
            Route::Batch(_) => Route::Reply(Reply::error(None, &RpcError::invalid_request("a batch holds no batches"))),
            route => route,
        }
    }

    fn route_as<'a>(&self, body: &'a [u8], headers: Option<&RequestHeaders<'_>>) -> Route<'a> {
        let message = match Message::parse(body) {
            Ok(message) => message,
            Err(Unreadable { id, error }) => return Route::Reply(Reply::error(id, &error)),
        };
        if let Message::Request { id, method, params } = message {
            return match self.request(id, &method, params, headers) {
                Ok(request) => Route::Request(Box::new(request)),
                Err(error) => Route::Reply(Reply::error(Some(id), &error)),
            };
        }
        match headers.map_or(Ok(None), RequestHeaders::revision).and_then(|revision| unrequested(message, revision)) {
            Ok(route) => route,
            Err(error) => Route::Reply(Reply::error(None, &error)),
        }
    }

    fn request<'a>(
        &self,
        id: RequestId<'a>,
        method: &str,
        params: Option<&'a RawValue>,
        headers: Option<&RequestHeaders<'_>>,
    ) -> Result<Request<'a>, RpcError> {
        let named = headers.map_or(Ok(None), RequestHeaders::revision);
        // Until `_meta` is read, only the header can tell in which form its fault is to be told.
        let told_in = named.as_ref().ok().copied().flatten().map_or(Era::Legacy, Revision::era);
        if params.is_some_and(|params| !params.get().starts_with('{')) {
            return Err(RpcError::invalid_params("the field `params` must be an object").in_era(told_in));
        }
        let meta = Meta::read(params).map_err(|error| error.in_era(told_in))?;
        // A handshake negotiates its version in the body; clients may already send the header they hope for.
        let named = if method == "initialize" { named.or(Ok(None)) } else { named };
        if meta.protocol_version.is_some() || method == "server/discover" {
            return self.modern(id, method, params, &meta, headers);
        }
        match named? {
            Some(revision) if revision.era() == Era::Modern => self.modern(id, method, params, &meta, headers),
            named => self.legacy(id, method, params, &meta, named).map_err(|error| error.in_era(Era::Legacy)),
        }
    }

    fn modern<'a>(
        &self,
        id: RequestId<'a>,
        method: &str,
        params: Option<&'a RawValue>,
        meta: &Meta<'a>,
        headers: Option<&RequestHeaders<'_>>,
    ) -> Result<Request<'a>, RpcError> {
        let version = meta.version()?;
        let capabilities = meta.capabilities()?;
        let (progress_token, log_level) = (meta.progress_token()?, meta.log_level()?);
        let idempotency_key = meta.idempotency_key()?.map(|key| key.0);
        if let Some(headers) = headers {
            headers.check_version(&version.0)?;
            headers.check_method(method)?;
        }
        let revision = Revision::parse(&version.0).filter(|revision| revision.era() == Era::Modern);
        let revision = revision.ok_or_else(|| RpcError::unsupported_version(&version.0))?;
        let asked = match method {
            "server/discover" => Method::Discover,
            "subscriptions/listen" => Method::Listen(params::filter(params)?),
            "tasks/get" => Method::GetTask(params::task_id(params)?),
            "tasks/update" => params::task_update(params)?,
            "tasks/cancel" => Method::CancelTask(params::task_id(params)?),
            _ => self.common(method, params, Era::Modern)?,
        };
        if let Some(headers) = headers {
            self.check_headers(&asked, headers)?;
        }
        Ok(Request {
            id,
            era: Era::Modern,
            revision: Some(revision),
            capabilities,
            progress_token,
            log_level,
            idempotency_key,
            method: asked,
        })
    }

    fn legacy<'a>(
        &self,
        id: RequestId<'a>,
        method: &str,
        params: Option<&'a RawValue>,
        meta: &Meta<'a>,
        named: Option<Revision>,
    ) -> Result<Request<'a>, RpcError> {
        let asked = match method {
            "initialize" => Method::Initialize(params::handshake(params)?),
            "ping" => Method::Ping,
            "logging/setLevel" => Method::SetLevel(params::level(params)?),
            "resources/subscribe" if self.catalog.offers.resources => Method::Subscribe(params::uri(params)?),
            "resources/unsubscribe" if self.catalog.offers.resources => Method::Unsubscribe(params::uri(params)?),
            _ => self.common(method, params, Era::Legacy)?,
        };
        Ok(Request {
            id,
            era: Era::Legacy,
            // A handshake is in no revision yet, whatever its header hopes for.
            revision: named.filter(|_| method != "initialize"),
            capabilities: Default::default(),
            progress_token: meta.progress_token()?,
            log_level: None,
            idempotency_key: meta.idempotency_key()?.map(|key| key.0),
            method: asked,
        })
    }

    /// The headers that repeat what a method is about.
    fn check_headers(&self, asked: &Method<'_>, headers: &RequestHeaders<'_>) -> Result<(), RpcError> {
        match asked {
            Method::CallTool(run) => {
                headers.check_name(&run.name)?;
                self.catalog.param_headers.check(&run.name, run.arguments, headers)
            }
            Method::GetPrompt(run) | Method::ReadResource(run) => headers.check_name(&run.name),
            Method::GetTask(id) | Method::CancelTask(id) | Method::UpdateTask { id, .. } => headers.check_name(id),
            _ => Ok(()),
        }
    }

    /// The methods that both eras have.
    fn common<'a>(&self, method: &str, params: Option<&'a RawValue>, era: Era) -> Result<Method<'a>, RpcError> {
        let offers = self.catalog.offers;
        let rounds = era == Era::Modern;
        Ok(match method {
            "tools/list" => params::whole_list(params, List::Tools)?,
            "tools/call" => Method::CallTool(params::invocation(params, "name", rounds)?),
            "prompts/list" if offers.prompts => params::whole_list(params, List::Prompts)?,
            "prompts/get" if offers.prompts => Method::GetPrompt(params::invocation(params, "name", rounds)?),
            "resources/list" if offers.resources => Method::ListResources(params::cursor(params)?),
            "resources/read" if offers.resources => Method::ReadResource(params::invocation(params, "uri", rounds)?),
            "resources/templates/list" if offers.resources => params::whole_list(params, List::ResourceTemplates)?,
            "completion/complete" if offers.completions => Method::Complete(params.map_or("{}", RawValue::get)),
            _ => return Err(RpcError::method_not_found(method, era)),
        })
    }

    /// Whether there are prompts.
    pub fn offers_prompts(&self) -> bool {
        self.catalog.offers.prompts
    }

    /// Whether there are resources.
    pub fn offers_resources(&self) -> bool {
        self.catalog.offers.resources
    }

    /// The answer to a request that needs nothing but what never changes; `None` for all others.
    pub fn told(&self, request: &Request<'_>) -> Option<Reply> {
        let result = match &request.method {
            Method::Initialize(handshake) => self.catalog.initialize(handshake.revision),
            Method::Ping => "{}",
            Method::Discover => &self.catalog.discover,
            Method::List(list) => self.catalog.list(*list, request.era),
            _ => return None,
        };
        Some(Reply::result(request.id, result))
    }
}

/// What a message that is no request leads to, of a client whose header names this revision.
fn unrequested<'a>(message: Message<'a>, named: Option<Revision>) -> Result<Route<'a>, RpcError> {
    let is_modern = named.is_some_and(|revision| revision.era() == Era::Modern);
    match message {
        Message::Notification { method, params } => Ok(Route::Notification(params::notification(&method, params))),
        Message::Response { .. } if is_modern => {
            Err(RpcError::invalid_request("a client of 2026-07-28 sends requests and notifications only"))
        }
        Message::Response { id, result, error } => params::response(id, result, error).map(Route::Response),
        Message::Batch(_) if named.is_some_and(|revision| revision != Revision::V2025_03_26) => {
            Err(batch::unexpected())
        }
        Message::Batch(batch) => batch.messages().map(Route::Batch),
        Message::Request { id, .. } => {
            // It was served above; a reader of this file must not have to prove it.
            let error = RpcError::internal("a request was not read");
            Ok(Route::Reply(Reply::error(Some(id), &error)))
        }
    }
}

#[cfg(test)]
mod tests;

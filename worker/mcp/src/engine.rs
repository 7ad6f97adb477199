//! What one message leads to.

use std::borrow::Cow;

use serde_json::value::RawValue;

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
    /// Serve each of these messages, and answer those that are requests in one list. Of a client of 2025-03-26 only: whether it is
    /// one may be known to its session alone, which the transport asks.
    Batch(Vec<&'a RawValue>),
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
    /// envelope, `_meta`, headers against the body, the version, and last the method.
    pub fn route<'a>(&self, body: &'a [u8], headers: &RequestHeaders<'_>) -> Route<'a> {
        match Message::parse(body) {
            Ok(Message::Notification { method, params }) => match headers.revision() {
                Ok(_) => Route::Notification(params::notification(&method, params)),
                Err(error) => Route::Reply(Reply::error(None, &error)),
            },
            Ok(Message::Response { id, result, error }) => {
                match headers.revision().map(|revision| revision.map(Revision::era)) {
                    Ok(Some(Era::Modern)) => {
                        let text = "a client of 2026-07-28 sends requests and notifications only";
                        Route::Reply(Reply::error(None, &RpcError::invalid_request(text)))
                    }
                    Ok(Some(Era::Legacy) | None) => params::response(id, result, error)
                        .map_or_else(|error| Route::Reply(Reply::error(None, &error)), Route::Response),
                    Err(error) => Route::Reply(Reply::error(None, &error)),
                }
            }
            Ok(Message::Request { id, method, params }) => match self.request(id, &method, params, headers) {
                Ok(request) => Route::Request(Box::new(request)),
                Err(error) => Route::Reply(Reply::error(Some(id), &error)),
            },
            Err(Unreadable { id, error }) => Route::Reply(Reply::error(id, &error)),
        }
    }

    fn request<'a>(
        &self,
        id: RequestId<'a>,
        method: &str,
        params: Option<&'a RawValue>,
        headers: &RequestHeaders<'_>,
    ) -> Result<Request<'a>, RpcError> {
        // Until `_meta` is read, only the header can tell in which form its fault is to be told.
        let told_in = headers.revision().ok().flatten().map_or(Era::Legacy, Revision::era);
        if params.is_some_and(|params| !params.get().starts_with('{')) {
            return Err(RpcError::invalid_params("the field `params` must be an object").in_era(told_in));
        }
        let meta = Meta::read(params).map_err(|error| error.in_era(told_in))?;
        match era_of(method, &meta, headers)? {
            Era::Modern => self.modern(id, method, params, &meta, headers),
            Era::Legacy => self.legacy(id, method, params, &meta, headers).map_err(|error| error.in_era(Era::Legacy)),
        }
    }

    fn modern<'a>(
        &self,
        id: RequestId<'a>,
        method: &str,
        params: Option<&'a RawValue>,
        meta: &Meta<'a>,
        headers: &RequestHeaders<'_>,
    ) -> Result<Request<'a>, RpcError> {
        let version = meta.version()?;
        let capabilities = meta.capabilities()?;
        headers.check_version(&version.0)?;
        let revision = Revision::parse(&version.0).filter(|revision| revision.era() == Era::Modern);
        let revision = revision.ok_or_else(|| RpcError::unsupported_version(&version.0))?;
        headers.check_method(method)?;
        let asked = match method {
            "server/discover" => Method::Discover,
            "subscriptions/listen" => Method::Listen(params::filter(params)?),
            "tasks/get" => Method::GetTask(params::task_id(params)?),
            "tasks/update" => params::task_update(params)?,
            "tasks/cancel" => Method::CancelTask(params::task_id(params)?),
            _ => self.common(method, params, Era::Modern)?,
        };
        match &asked {
            Method::CallTool(run) | Method::GetPrompt(run) | Method::ReadResource(run) => {
                headers.check_name(&run.name)?
            }
            Method::GetTask(id) | Method::CancelTask(id) | Method::UpdateTask { id, .. } => headers.check_name(id)?,
            _ => {}
        }
        Ok(Request {
            id,
            era: Era::Modern,
            revision: Some(revision),
            capabilities,
            progress_token: meta.progress_token()?,
            log_level: meta.log_level()?,
            idempotency_key: meta.idempotency_key()?.map(|key| key.0),
            method: asked,
        })
    }

    fn legacy<'a>(
        &self,
        id: RequestId<'a>,
        method: &str,
        params: Option<&'a RawValue>,
        meta: &Meta<'a>,
        headers: &RequestHeaders<'_>,
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
            revision: if method == "initialize" { None } else { headers.revision()? },
            capabilities: Default::default(),
            progress_token: meta.progress_token()?,
            log_level: None,
            idempotency_key: meta.idempotency_key()?.map(|key| key.0),
            method: asked,
        })
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

/// The era of a request: modern if its header or `_meta` says so, legacy if the header names a legacy revision or nothing does.
fn era_of(method: &str, meta: &Meta<'_>, headers: &RequestHeaders<'_>) -> Result<Era, RpcError> {
    if meta.protocol_version.is_some() || method == "server/discover" {
        return Ok(Era::Modern);
    }
    match headers.revision() {
        Ok(None) => Ok(Era::Legacy),
        Ok(Some(revision)) => Ok(revision.era()),
        // A handshake negotiates its version in the body; clients may already send the header they hope for.
        Err(_) if method == "initialize" => Ok(Era::Legacy),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;

//! What one message leads to.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::catalog::Catalog;
use crate::error::{RpcError, shown};
use crate::headers::RequestHeaders;
use crate::message::{Message, RequestId, Text, Unreadable};
use crate::meta::Meta;
use crate::reply::{CallResult, Reply};
use crate::revision::{Era, Revision};

/// The protocol engine of one process.
#[derive(Debug)]
pub struct Engine {
    catalog: Catalog,
}

/// What the transport has to do with a message.
#[derive(Debug)]
pub enum Route<'a> {
    /// Send this.
    Reply(Reply),
    /// Send 202 without a body: a notification, or a client's answer.
    Accepted,
    /// Run a tool, then send [`ToolCall::reply`].
    Call(ToolCall<'a>),
}

/// A `tools/call` whose envelope is in order. Whether the tool exists and what its arguments must be is the executor's to say.
#[derive(Debug)]
pub struct ToolCall<'a> {
    id: RequestId<'a>,
    era: Era,
    name: std::borrow::Cow<'a, str>,
    arguments: &'a str,
    idempotency_key: Option<std::borrow::Cow<'a, str>>,
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
            Ok(Message::Notification) => match headers.revision() {
                Ok(_) => Route::Accepted,
                Err(error) => Route::Reply(Reply::error(None, &error)),
            },
            Ok(Message::Response) => match headers.revision().map(|revision| revision.map(Revision::era)) {
                Ok(Some(Era::Modern)) => {
                    let text = "a client of 2026-07-28 sends requests and notifications only";
                    Route::Reply(Reply::error(None, &RpcError::invalid_request(text)))
                }
                Ok(Some(Era::Legacy) | None) => Route::Accepted,
                Err(error) => Route::Reply(Reply::error(None, &error)),
            },
            Ok(Message::Request { id, method, params }) => match self.request(id, &method, params, headers) {
                Ok(route) => route,
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
    ) -> Result<Route<'a>, RpcError> {
        // Until `_meta` is read, only the header can tell in which form its fault is to be told.
        let told_in = headers.revision().ok().flatten().map_or(Era::Legacy, Revision::era);
        if params.is_some_and(|params| !params.get().starts_with('{')) {
            return Err(RpcError::invalid_params("the field `params` must be an object").in_era(told_in));
        }
        let meta = Meta::read(params).map_err(|error| error.in_era(told_in))?;
        match era_of(method, &meta, headers)? {
            Era::Modern => {
                let version = meta.version()?;
                meta.check_capabilities()?;
                headers.check_version(&version.0)?;
                if Revision::parse(&version.0).map(Revision::era) != Some(Era::Modern) {
                    return Err(RpcError::unsupported_version(&version.0));
                }
                headers.check_method(method)?;
                match method {
                    "server/discover" => Ok(Route::Reply(Reply::result(id, &self.catalog.discover))),
                    "tools/list" => self.list_tools(id, Era::Modern, params),
                    "tools/call" => {
                        let call = tool_call(id, Era::Modern, params, &meta)?;
                        headers.check_name(&call.name)?;
                        Ok(Route::Call(call))
                    }
                    _ => Err(RpcError::method_not_found(method, Era::Modern)),
                }
            }
            Era::Legacy => match method {
                "initialize" => self.initialize(id, params),
                "ping" => Ok(Route::Reply(Reply::result(id, "{}"))),
                "tools/list" => self.list_tools(id, Era::Legacy, params),
                "tools/call" => Ok(Route::Call(tool_call(id, Era::Legacy, params, &meta)?)),
                _ => Err(RpcError::method_not_found(method, Era::Legacy)),
            },
        }
    }

    fn initialize<'a>(&self, id: RequestId<'a>, params: Option<&'a RawValue>) -> Result<Route<'a>, RpcError> {
        #[derive(Deserialize)]
        struct Handshake<'a> {
            #[serde(borrow, rename = "protocolVersion")]
            protocol_version: Text<'a>,
        }
        let params = params.map_or("{}", RawValue::get);
        let handshake: Handshake<'_> = serde_json::from_str(params).map_err(|error| {
            let text = format!("the field `params.protocolVersion` must be one string: {error}");
            RpcError::invalid_params(text).in_era(Era::Legacy)
        })?;
        Ok(Route::Reply(Reply::result(id, self.catalog.initialize(&handshake.protocol_version.0))))
    }

    fn list_tools<'a>(&self, id: RequestId<'a>, era: Era, params: Option<&RawValue>) -> Result<Route<'a>, RpcError> {
        #[derive(Deserialize)]
        struct Page<'a> {
            #[serde(borrow, default)]
            cursor: Option<&'a RawValue>,
        }
        let params = params.map_or("{}", RawValue::get);
        let page: Page<'_> = serde_json::from_str(params)
            .map_err(|_| RpcError::invalid_params("the field `params` repeats a key").in_era(era))?;
        match page.cursor {
            None => Ok(Route::Reply(Reply::result(id, self.catalog.tools(era)))),
            Some(_) => {
                let text = "the field `params.cursor` is not a cursor of this server: the list of tools has one page";
                Err(RpcError::invalid_params(text).in_era(era))
            }
        }
    }
}

impl<'a> ToolCall<'a> {
    /// Name of the tool.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments, a JSON object as the client wrote it; `{}` if it sent none.
    pub fn arguments(&self) -> &'a str {
        self.arguments
    }

    /// The idempotency key in `_meta`, as the client wrote it.
    pub fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    /// The answer for `result`.
    pub fn reply(&self, engine: &Engine, result: &CallResult) -> Reply {
        let prefix = match self.era {
            Era::Modern => engine.catalog.modern_prefix.as_str(),
            Era::Legacy => "",
        };
        let mut body = Vec::with_capacity(64 + prefix.len() + self.id.as_json().len() + result.size_hint());
        body.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        body.extend_from_slice(self.id.as_json().as_bytes());
        body.extend_from_slice(br#","result":{"#);
        body.extend_from_slice(prefix.as_bytes());
        result.write_fields(&mut body);
        body.extend_from_slice(b"}}");
        Reply { status: 200, error_code: None, body: body.into() }
    }

    /// The answer when the call could not be run at all: no such tool, or a failure that is the protocol's to tell.
    pub fn refuse(&self, error: RpcError) -> Reply {
        Reply::error(Some(self.id), &error.in_era(self.era))
    }

    /// The error for a tool nobody registered.
    pub fn unknown_tool(&self) -> RpcError {
        let text = format!("Unknown tool: {}; `tools/list` names the tools", shown(&self.name));
        RpcError::invalid_params(text)
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

fn tool_call<'a>(
    id: RequestId<'a>,
    era: Era,
    params: Option<&'a RawValue>,
    meta: &Meta<'a>,
) -> Result<ToolCall<'a>, RpcError> {
    #[derive(Deserialize)]
    struct Call<'a> {
        #[serde(borrow, default)]
        name: Option<&'a RawValue>,
        #[serde(borrow, default)]
        arguments: Option<&'a RawValue>,
    }
    let invalid = |text: &str| RpcError::invalid_params(text).in_era(era);
    let params = params.ok_or_else(|| invalid("the field `params` is missing"))?;
    let call: Call<'a> = serde_json::from_str(params.get()).map_err(|_| invalid("the field `params` repeats a key"))?;
    let name = call.name.ok_or_else(|| invalid("the field `params.name` is missing"))?;
    let name: Text<'a> =
        serde_json::from_str(name.get()).map_err(|_| invalid("the field `params.name` must be a string"))?;
    let arguments = call.arguments.map_or("{}", RawValue::get);
    if !arguments.starts_with('{') {
        return Err(invalid("the field `params.arguments` must be an object"));
    }
    let idempotency_key = meta.idempotency_key().map_err(|error| error.in_era(era))?.map(|key| key.0);
    Ok(ToolCall { id, era, name: name.0, arguments, idempotency_key })
}

#[cfg(test)]
mod tests;

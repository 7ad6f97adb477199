//! The parameters of methods, read from the client's text. Each error names the field.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::capabilities::ClientCapabilities;
use crate::catalog::List;
use crate::engine::{Notification, Response};
use crate::error::RpcError;
use crate::level::LogLevel;
use crate::message::Text;
use crate::request::{Filter, Handshake, Invocation, Method};
use crate::revision::{Era, Revision};

type Params<'a> = Option<&'a RawValue>;

/// Parameters as a type whose fields are all optional and raw: what fails here is a repeated key.
fn fields<'a, T: Deserialize<'a>>(params: Params<'a>) -> Result<T, RpcError> {
    let text = params.map_or("{}", RawValue::get);
    serde_json::from_str(text).map_err(|_| RpcError::invalid_params("the field `params` repeats a key"))
}

/// A field that is there, though it may be `null`.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&'a RawValue>::deserialize(from).map(Some)
}

fn text<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Cow<'a, str>, RpcError> {
    let raw = raw.ok_or_else(|| RpcError::invalid_params(format!("the field `params.{field}` is missing")))?;
    serde_json::from_str::<Text<'a>>(raw.get())
        .map(|text| text.0)
        .map_err(|_| RpcError::invalid_params(format!("the field `params.{field}` must be a string")))
}

fn object<'a>(field: &str, raw: &'a RawValue) -> Result<&'a str, RpcError> {
    let json = raw.get();
    if json.starts_with('{') {
        return Ok(json);
    }
    Err(RpcError::invalid_params(format!("the field `params.{field}` must be an object")))
}

pub(crate) fn handshake<'a>(params: Params<'a>) -> Result<Handshake<'a>, RpcError> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, default, rename = "protocolVersion")]
        version: Option<&'a RawValue>,
        #[serde(borrow, default)]
        capabilities: Option<&'a RawValue>,
        #[serde(borrow, default, rename = "clientInfo")]
        client: Option<&'a RawValue>,
    }
    #[derive(Default, Deserialize)]
    struct Client<'a> {
        #[serde(borrow, default)]
        name: Option<Text<'a>>,
        #[serde(borrow, default)]
        version: Option<Text<'a>>,
    }
    let Fields { version, capabilities, client } = fields(params)?;
    let asked = text("protocolVersion", version)?;
    let revision = Revision::parse(&asked).filter(|revision| revision.era() == Era::Legacy);
    let capabilities = match capabilities {
        None => ClientCapabilities::NONE,
        Some(raw) => serde_json::from_str::<Map<String, Value>>(raw.get())
            .map(|declared| ClientCapabilities::of(&declared))
            .map_err(|_| RpcError::invalid_params("the field `params.capabilities` must be an object"))?,
    };
    // It is told for display only, so nothing depends on its form.
    let client: Client<'a> = client.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    Ok(Handshake {
        revision: revision.unwrap_or(Revision::NEWEST_LEGACY),
        capabilities,
        client_name: client.name.map(|name| name.0).unwrap_or_default(),
        client_version: client.version.map(|version| version.0).unwrap_or_default(),
    })
}

pub(crate) fn level(params: Params<'_>) -> Result<LogLevel, RpcError> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, default)]
        level: Option<&'a RawValue>,
    }
    let Fields { level } = fields(params)?;
    let word = text("level", level)?;
    LogLevel::parse(&word).ok_or_else(|| {
        let words = LogLevel::ALL.map(LogLevel::word).join(", ");
        RpcError::invalid_params(format!("the field `params.level` must be one of {words}"))
    })
}

pub(crate) fn uri<'a>(params: Params<'a>) -> Result<Cow<'a, str>, RpcError> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, default)]
        uri: Option<&'a RawValue>,
    }
    let Fields { uri } = fields(params)?;
    text("uri", uri)
}

pub(crate) fn cursor<'a>(params: Params<'a>) -> Result<Option<Cow<'a, str>>, RpcError> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, default)]
        cursor: Option<&'a RawValue>,
    }
    let Fields { cursor } = fields(params)?;
    cursor.map(|cursor| text("cursor", Some(cursor))).transpose()
}

/// A list of one page has no cursors.
pub(crate) fn whole_list<'a>(params: Params<'a>, list: List) -> Result<Method<'a>, RpcError> {
    match cursor(params)? {
        None => Ok(Method::List(list)),
        Some(_) => {
            let text = "the field `params.cursor` is not a cursor of this server: this list has one page";
            Err(RpcError::invalid_params(text))
        }
    }
}

/// `name` is the field that names what is run; `rounds` tells whether the revision has multi round-trip requests.
pub(crate) fn invocation<'a>(params: Params<'a>, name: &str, rounds: bool) -> Result<Invocation<'a>, RpcError> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, default)]
        name: Option<&'a RawValue>,
        #[serde(borrow, default)]
        uri: Option<&'a RawValue>,
        #[serde(borrow, default)]
        arguments: Option<&'a RawValue>,
        #[serde(borrow, default, rename = "inputResponses", deserialize_with = "present")]
        responses: Option<&'a RawValue>,
        #[serde(borrow, default, rename = "requestState", deserialize_with = "present")]
        state: Option<&'a RawValue>,
    }
    let params = params.ok_or_else(|| RpcError::invalid_params("the field `params` is missing"))?;
    let read: Fields<'a> = fields(Some(params))?;
    let is_uri = name == "uri";
    let named = text(name, if is_uri { read.uri } else { read.name })?;
    let arguments = match read.arguments.filter(|_| !is_uri) {
        None => "{}",
        Some(raw) => object("arguments", raw)?,
    };
    let (responses, state) = if rounds { (read.responses, read.state) } else { (None, None) };
    if let Some(responses) = responses {
        object("inputResponses", responses)?;
    }
    let state = state.map(|state| text("requestState", Some(state))).transpose()?;
    Ok(Invocation { name: named, arguments, responses, state })
}

pub(crate) fn filter(params: Params<'_>) -> Result<Filter, RpcError> {
    const NO_FILTER: &str = "the field `params.notifications` is no filter: `toolsListChanged`, `promptsListChanged` and \
                             `resourcesListChanged` are booleans, `resourceSubscriptions` and `taskIds` lists of strings, each there \
                             once";
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, default)]
        notifications: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wished {
        #[serde(default)]
        tools_list_changed: bool,
        #[serde(default)]
        prompts_list_changed: bool,
        #[serde(default)]
        resources_list_changed: bool,
        #[serde(default)]
        resource_subscriptions: Vec<String>,
        #[serde(default)]
        task_ids: Vec<String>,
    }
    let Fields { notifications } = fields(params)?;
    let notifications =
        notifications.ok_or_else(|| RpcError::invalid_params("the field `params.notifications` is missing"))?;
    let wished: Wished = serde_json::from_str(object("notifications", notifications)?)
        .map_err(|_| RpcError::invalid_params(NO_FILTER))?;
    Ok(Filter {
        tools: wished.tools_list_changed,
        prompts: wished.prompts_list_changed,
        resources: wished.resources_list_changed,
        subscriptions: wished.resource_subscriptions,
        tasks: wished.task_ids,
    })
}

#[derive(Deserialize)]
struct TaskFields<'a> {
    #[serde(borrow, default, rename = "taskId")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "inputResponses")]
    responses: Option<&'a RawValue>,
}

pub(crate) fn task_id<'a>(params: Params<'a>) -> Result<Cow<'a, str>, RpcError> {
    text("taskId", fields::<TaskFields<'a>>(params)?.id)
}

pub(crate) fn task_update<'a>(params: Params<'a>) -> Result<Method<'a>, RpcError> {
    let TaskFields { id, responses } = fields(params)?;
    let id = text("taskId", id)?;
    let responses =
        responses.ok_or_else(|| RpcError::invalid_params("the field `params.inputResponses` is missing"))?;
    Ok(Method::UpdateTask { id, responses: object("inputResponses", responses)? })
}

/// What follows from a notification. One that cannot be read is as good as none.
pub(crate) fn notification<'a>(method: &str, params: Params<'a>) -> Notification<'a> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, default, rename = "requestId")]
        id: Option<&'a RawValue>,
    }
    if method == "notifications/cancelled"
        && let Ok(Fields { id: Some(id) }) = fields(params)
    {
        return Notification::Cancelled(id.get());
    }
    Notification::Other
}

/// A client's answer. The ids of this server's questions are strings. What is an answer to no question at all is refused here, so that
/// it does not use the question up: results of requests to a client are objects (specification 2025-11-25, schema, `ClientResult`).
pub(crate) fn response<'a>(id: Params<'a>, result: Params<'a>, error: Params<'a>) -> Result<Response<'a>, RpcError> {
    let unasked = || RpcError::invalid_request("the field `id` names no question of this server");
    let id = id.and_then(|id| serde_json::from_str::<Text<'a>>(id.get()).ok()).ok_or_else(unasked)?;
    let outcome = match (result, error) {
        (Some(result), None) if result.get().starts_with('{') => Ok(result.get()),
        (Some(_), None) => return Err(RpcError::invalid_request("the field `result` of a response must be an object")),
        (None, Some(error)) if is_error(error) => Err(error.get()),
        (None, Some(_)) => {
            let text =
                "the field `error` of a response must be an object with an integer `code` and a string `message`";
            return Err(RpcError::invalid_request(text));
        }
        _ => return Err(RpcError::invalid_request("a response has either `result` or `error`")),
    };
    Ok(Response { id: id.0, outcome })
}

/// Whether it has what an error needs (JSON-RPC 2.0, section 5.1).
fn is_error(error: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(rename = "code")]
        _code: i64,
        #[serde(borrow, rename = "message")]
        _message: Text<'a>,
    }
    error.get().starts_with('{') && serde_json::from_str::<Fields<'_>>(error.get()).is_ok()
}

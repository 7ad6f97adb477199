//! What a state holds, and what it is bound to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use task_mcp_mcp::sealed::{RoundCall, SealError};
use task_mcp_mcp::{Invocation, Method, Request, RpcError};
use task_mcp_tools::arguments_digest;

use crate::exchange::client::Client;

/// An answer of an earlier round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) about: String,
    pub(super) answer: Value,
}

/// What a state holds beside its tag, as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) answers: BTreeMap<String, Kept>,
    pub(super) open: Vec<String>,
}

/// What a request runs, if that may ask: the specification names these three methods and no others.
pub(super) fn invocation<'r, 'a>(request: &'r Request<'a>) -> Option<&'r Invocation<'a>> {
    match &request.method {
        Method::CallTool(call) | Method::GetPrompt(call) | Method::ReadResource(call) => Some(call),
        _ => None,
    }
}

/// What a state is bound to.
pub(super) fn bound<'a>(
    request: &Request<'_>,
    call: &'a Invocation<'_>,
    client: &'a Client,
    arguments: &'a [u8; 32],
) -> RoundCall<'a> {
    let method = match &request.method {
        Method::CallTool(_) => "tools/call",
        Method::GetPrompt(_) => "prompts/get",
        _ => "resources/read",
    };
    RoundCall { person: client.principal.person(), method, name: &call.name, arguments }
}

pub(super) fn digest(call: &Invocation<'_>) -> Result<[u8; 32], RpcError> {
    arguments_digest(call.arguments).ok_or_else(|| {
        RpcError::invalid_params("the field `params.arguments` must be one JSON object without repeated keys")
    })
}

/// What questions are about, at a length that any state has room for.
pub(super) fn tag(about: &str) -> String {
    blake3::hash(about.as_bytes()).to_hex().to_string()
}

/// A client is told what to do, and not what gave it away.
pub(super) fn refused(error: SealError) -> RpcError {
    let remedy = "send the call again without `requestState` and `inputResponses`";
    RpcError::invalid_params(match error {
        SealError::Expired => format!("the field `params.requestState` has expired (tools.ask_timeout_s): {remedy}"),
        _ => format!("the field `params.requestState` is not what this call was answered with: {remedy}"),
    })
}

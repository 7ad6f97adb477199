//! The `_meta` of a request.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::capabilities::ClientCapabilities;
use crate::error::RpcError;
use crate::level::LogLevel;
use crate::message::{Text, is_request_id};

/// The key in `_meta` under which a client sends a write once, however often it sends it. The specification has none; ours carries
/// our prefix, as it asks of everybody's own keys.
pub const IDEMPOTENCY_KEY: &str = "dev.task-mcp/idempotencyKey";

/// What a request says of itself.
///
/// Source: specification 2026-07-28, "Overview", `_meta`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Meta<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    pub(crate) protocol_version: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub(crate) client_capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/logLevel")]
    log_level: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "dev.task-mcp/idempotencyKey")]
    idempotency_key: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WithMeta<'a> {
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

impl<'a> Meta<'a> {
    /// Reads `_meta` of the parameters; without one, all is unset.
    ///
    /// # Errors
    /// -32602 if it is not an object.
    pub(crate) fn read(params: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let Some(params) = params else {
            return Ok(Self::default());
        };
        let not_read = |_| RpcError::invalid_params("the field `params._meta` must be an object without repeated keys");
        let WithMeta { meta } = serde_json::from_str(params.get()).map_err(not_read)?;
        match meta {
            None => Ok(Self::default()),
            Some(meta) if meta.get().starts_with('{') => serde_json::from_str(meta.get()).map_err(not_read),
            Some(_) => Err(RpcError::invalid_params("the field `params._meta` must be an object")),
        }
    }

    /// The declared version.
    ///
    /// # Errors
    /// -32602 if it is missing or not a string.
    pub(crate) fn version(&self) -> Result<Text<'a>, RpcError> {
        const KEY: &str = "params._meta[\"io.modelcontextprotocol/protocolVersion\"]";
        let raw =
            self.protocol_version.ok_or_else(|| RpcError::invalid_params(format!("the field {KEY} is missing")))?;
        serde_json::from_str(raw.get())
            .map_err(|_| RpcError::invalid_params(format!("the field {KEY} must be a string")))
    }

    /// The idempotency key, as it stands.
    ///
    /// # Errors
    /// -32602 if it is not a string.
    pub(crate) fn idempotency_key(&self) -> Result<Option<Text<'a>>, RpcError> {
        let Some(raw) = self.idempotency_key else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| {
            RpcError::invalid_params(format!("the field params._meta[\"{IDEMPOTENCY_KEY}\"] must be a string"))
        })
    }

    /// The client's capabilities.
    ///
    /// # Errors
    /// -32602 if they are missing or not an object.
    pub(crate) fn capabilities(&self) -> Result<ClientCapabilities, RpcError> {
        const KEY: &str = "params._meta[\"io.modelcontextprotocol/clientCapabilities\"]";
        match self.client_capabilities {
            Some(raw) => match serde_json::from_str::<Map<String, Value>>(raw.get()) {
                Ok(declared) => Ok(ClientCapabilities::of(&declared)),
                Err(_) => Err(RpcError::invalid_params(format!("the field {KEY} must be an object"))),
            },
            None => Err(RpcError::invalid_params(format!("the field {KEY} is missing"))),
        }
    }

    /// Least severe messages the client wants to hear while the request is served; none without one.
    ///
    /// # Errors
    /// -32602 if it is no level.
    pub(crate) fn log_level(&self) -> Result<Option<LogLevel>, RpcError> {
        const KEY: &str = "params._meta[\"io.modelcontextprotocol/logLevel\"]";
        let Some(raw) = self.log_level else { return Ok(None) };
        let word: Option<Text<'_>> = serde_json::from_str(raw.get()).ok();
        word.and_then(|word| LogLevel::parse(&word.0)).map(Some).ok_or_else(|| {
            let words = LogLevel::ALL.map(LogLevel::word).join(", ");
            RpcError::invalid_params(format!("the field {KEY} must be one of {words}"))
        })
    }

    /// What progress is reported under, as the client wrote it.
    ///
    /// # Errors
    /// -32602 if it is neither a string nor an integer.
    pub(crate) fn progress_token(&self) -> Result<Option<&'a str>, RpcError> {
        let Some(raw) = self.progress_token else { return Ok(None) };
        if is_request_id(raw.get()) {
            return Ok(Some(raw.get()));
        }
        Err(RpcError::invalid_params("the field params._meta.progressToken must be a string or an integer"))
    }
}

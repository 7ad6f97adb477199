//! What is told when a request is refused, in the form of its dialect.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use task_mcp_mcp::{Reply, RpcError, code};
use uuid::Uuid;

use crate::public::rate::Standing;

/// A request that is not served: an HTTP status, a code for programs, words for people.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
    hint: Option<String>,
    limit: Option<u64>,
    rpc_code: i32,
    /// What stands in the headers too, if the request came too early.
    too_early: Option<Box<TooEarly>>,
}

/// A request that would be served later.
#[derive(Debug, Clone, Copy)]
struct TooEarly {
    retry_ms: u64,
    standing: Standing,
}

/// In which form a refusal is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A JSON-RPC error without an `id`.
    JsonRpc,
    /// The seed's error object.
    Plain,
}

/// `apiVersion` of the seed's dialect.
pub(crate) const API_VERSION: &str = "1.0.0";

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, code, message, hint: None, limit: None, rpc_code: code::INVALID_REQUEST, too_early: None }
    }

    pub(crate) fn unauthorised(code: &'static str, message: &str) -> Self {
        Self::new(401, code, message)
            .with_hint("send the header Authorization: Bearer <token>; auth.tokens lists the tokens")
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The same request will be served after so long, in milliseconds.
    pub(crate) fn with_retry_after(mut self, retry_ms: u64, standing: Standing) -> Self {
        self.too_early = Some(Box::new(TooEarly { retry_ms, standing }));
        self
    }

    /// The JSON-RPC code, where it is not -32600.
    pub(crate) fn with_rpc_code(mut self, code: i32) -> Self {
        self.rpc_code = code;
        self
    }

    /// The same as an error of the protocol, for one message of several.
    pub(crate) fn to_rpc(&self) -> RpcError {
        RpcError::new(self.rpc_code, self.sentence()).with_status(self.status).with_data(self.data())
    }

    /// The response.
    pub(crate) fn respond(&self, request: &HttpRequest, form: Form) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = HttpResponse::build(status);
        response.insert_header((header::CONTENT_TYPE, "application/json"));
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if self.status == 401 {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"task-mcp\""));
        }
        if let Some(TooEarly { retry_ms, standing }) = self.too_early.as_deref() {
            response.insert_header((header::RETRY_AFTER, retry_ms.div_ceil(1_000).max(1)));
            for header in standing.headers() {
                response.insert_header(header);
            }
        }
        match form {
            Form::JsonRpc => response.body(Reply::error(None, &self.to_rpc()).body),
            Form::Plain => {
                let id = request_id(request);
                response.insert_header((REQUEST_ID, id.clone()));
                response.body(json_bytes(&PlainError {
                    api_version: API_VERSION,
                    error: self.data_with_message(),
                    request_id: id.to_str().unwrap_or_default(),
                    timestamp: Timestamp::now().to_string(),
                }))
            }
        }
    }

    fn sentence(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.message),
            None => self.message.clone(),
        }
    }

    fn data(&self) -> Value {
        let mut data = json!({ "code": self.code });
        if let (Some(fields), Some(limit)) = (data.as_object_mut(), self.limit) {
            fields.insert("limit".into(), limit.into());
        }
        if let (Some(fields), Some(TooEarly { retry_ms, standing })) = (data.as_object_mut(), self.too_early.as_deref())
        {
            fields.insert("retryAfterMs".into(), (*retry_ms).into());
            fields.insert("limit".into(), standing.limit.into());
            fields.insert("resetAt".into(), standing.reset_at_s.into());
        }
        data
    }

    fn data_with_message(&self) -> Value {
        let mut data = self.data();
        if let Some(fields) = data.as_object_mut() {
            fields.insert("message".into(), self.message.clone().into());
            if let Some(hint) = &self.hint {
                fields.insert("hint".into(), hint.clone().into());
            }
        }
        data
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlainError<'a> {
    api_version: &'a str,
    error: Value,
    request_id: &'a str,
    timestamp: String,
}

/// The one value of a header, if it is there.
///
/// # Errors
/// 400 if it is repeated: what lies in front of this server may have looked at the other value.
pub(crate) fn single<'a>(request: &'a HttpRequest, name: &str) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = request.headers().get_all(name);
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Refusal::new(400, "REPEATED_HEADER", format!("the header {name} must come once"))),
    }
}

/// The header under which a request is known to its client and to logs.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// The client's own request id, if it is short and visible.
pub(crate) fn own_request_id(request: &HttpRequest) -> Option<&HeaderValue> {
    const BYTES_MAX: usize = 128;
    let usable = |value: &&HeaderValue| {
        (1..=BYTES_MAX).contains(&value.len()) && value.as_bytes().iter().all(|byte| byte.is_ascii_graphic())
    };
    request.headers().get(REQUEST_ID).filter(usable)
}

/// The client's own request id, else a new one (UUID version 7).
pub(crate) fn request_id(request: &HttpRequest) -> HeaderValue {
    own_request_id(request).cloned().unwrap_or_else(|| {
        HeaderValue::from_str(&Uuid::now_v7().to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    })
}

/// Our own types always serialise; should one not, the client gets an empty object rather than nothing.
pub(crate) fn json_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec())
}

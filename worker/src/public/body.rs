//! Reading a body within its limits.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use task_mcp_mcp::{code, exceeds_depth};
use tokio::time::timeout;

use crate::app::App;
use crate::live::RequestLimits;
use crate::public::refusal::{Refusal, single};

/// Reads a JSON body.
///
/// # Errors
/// 415 for another type, 413 over `limits.body_bytes`, 408 over `limits.body_timeout_ms`, 503 when the server stops first, 400 over
/// `limits.json_depth` or when the client stops half-way.
pub(crate) async fn read_json(
    request: &HttpRequest,
    payload: &mut Payload,
    app: &App,
    limits: &RequestLimits,
) -> Result<Bytes, Refusal> {
    if !single(request, CONTENT_TYPE.as_str())?.is_none_or(is_json) {
        return Err(Refusal::new(415, "UNSUPPORTED_MEDIA_TYPE", "the body must be JSON in UTF-8")
            .with_hint("send the header Content-Type: application/json"));
    }
    let mut stop = app.stop_reading.subscribe();
    let body = tokio::select! {
        biased;
        body = timeout(limits.body_timeout, read(request, payload, limits.body_bytes)) => match body {
            Ok(body) => body?,
            Err(_) => {
                let limit_ms = u64::try_from(limits.body_timeout.as_millis()).unwrap_or(u64::MAX);
                let text = format!("the body did not arrive within {limit_ms} ms (limits.body_timeout_ms)");
                return Err(Refusal::new(408, "REQUEST_TIMEOUT", text).with_limit(limit_ms));
            }
        },
        _ = stop.wait_for(|stop| *stop) => {
            return Err(Refusal::new(503, "STOPPING", "the server stops before the body has arrived").with_hint("try again"));
        }
    };
    if exceeds_depth(&body, limits.json_depth) {
        let limit = limits.json_depth;
        let text = format!("the body nests deeper than {limit} levels (limits.json_depth)");
        return Err(Refusal::new(400, "JSON_TOO_DEEP", text)
            .with_hint("send a flatter body")
            .with_limit(limit.into())
            .with_rpc_code(code::PARSE_ERROR));
    }
    Ok(body)
}

/// Whether a media type is JSON in no other encoding than UTF-8. Other parameters mean nothing.
fn is_json(value: &HeaderValue) -> bool {
    let mut parts = value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/json"));
    is_json && parts.all(is_harmless)
}

fn is_harmless(parameter: &[u8]) -> bool {
    let (name, value) = match parameter.iter().position(|byte| *byte == b'=') {
        Some(at) => parameter.split_at(at),
        None => return true,
    };
    let value = value.strip_prefix(b"=").unwrap_or_default();
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    !name.eq_ignore_ascii_case(b"charset") || quoted.unwrap_or(value).eq_ignore_ascii_case(b"utf-8")
}

async fn read(request: &HttpRequest, payload: &mut Payload, limit: usize) -> Result<Bytes, Refusal> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(too_large(limit));
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece =
            piece.map_err(|_| Refusal::new(400, "INVALID_BODY", "the body ended early or cannot be decoded"))?;
        let so_far = if rest.is_empty() { first.as_ref().map_or(0, Bytes::len) } else { rest.len() };
        if so_far + piece.len() > limit {
            return Err(too_large(limit));
        }
        // Most bodies come in one piece, which then needs no copy.
        match &first {
            None => first = Some(piece),
            Some(start) => {
                if rest.is_empty() {
                    rest.extend_from_slice(start);
                }
                rest.extend_from_slice(&piece);
            }
        }
    }
    Ok(if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() })
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(413, "REQUEST_TOO_LARGE", format!("the body is larger than {limit} bytes (limits.body_bytes)"))
        .with_hint("send a smaller body, or raise the limit")
        .with_limit(limit as u64)
}

/// Takes what is left of a small body off the connection, so that an early refusal does not cost the client its connection: a
/// handler that leaves a body unread makes the server close it. A body that is not there at once is not waited for.
pub(crate) async fn drain_small(request: &HttpRequest, payload: &mut Payload) {
    const SMALL_BYTES: u64 = 16 * 1024;
    const PATIENCE: Duration = Duration::from_millis(100);
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes <= SMALL_BYTES) {
        let _ = timeout(PATIENCE, async { while let Some(Ok(_)) = payload.next().await {} }).await;
    }
}

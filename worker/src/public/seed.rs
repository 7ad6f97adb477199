//! The dialect of the document the project started from: `{tool, input, apiVersion}` in, NDJSON lines out of `/mcp`, server-sent
//! events out of `/sse`.
//!
//! A request that names no tool of this server is refused with an HTTP status. From then on the answer is a 200 stream, and what
//! goes wrong with the tool is told inside it.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::Version;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse, Responder};
use actix_web_lab::sse;
use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use task_mcp_mcp::{CallResult, json_string};
use task_mcp_tools::{Call, Principal, Stop, ToolError};

use crate::app::App;
use crate::connections::entry::Entry;
use crate::exchange::{Driven, Emission, OpenEvents, Outlet, Plain, Step, Terms};
use crate::live::Live;
use crate::public::body::{drain_small, read_json};
use crate::public::events::{NOT_KEPT, X_ACCEL_BUFFERING};
use crate::public::once::idempotency_key;
use crate::public::rate::{Admitted, admit, tell};
use crate::public::refusal::{API_VERSION, Form, REQUEST_ID, Refusal, request_id};

/// Whether a body is of this dialect: it names a tool and is no JSON-RPC message.
pub(crate) fn is_seed(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Probe<'a> {
        #[serde(borrow, default)]
        jsonrpc: Option<&'a RawValue>,
        #[serde(borrow, default)]
        tool: Option<&'a RawValue>,
    }
    is_object(body)
        && serde_json::from_slice::<Probe<'_>>(body).is_ok_and(|probe| probe.tool.is_some() && probe.jsonrpc.is_none())
}

/// A list in the order of the fields would pass for an object with serde.
fn is_object(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// `POST /sse`.
pub(crate) async fn post_sse(request: HttpRequest, mut payload: Payload, app: Data<App>) -> HttpResponse {
    let live = app.live.load_full();
    let Admitted { principal, standing } = match admit(&request, &app, &live).await {
        Ok(admitted) => admitted,
        Err(refusal) => {
            drain_small(&request, &mut payload).await;
            return refusal.respond(&request, Form::Plain);
        }
    };
    let asked = match read_json(&request, &mut payload, &app, &live.limits).await {
        Ok(body) => Asked::read(&request, &body, &app, principal),
        Err(refusal) => Err(refusal),
    };
    let response = match asked {
        Ok(asked) => respond_sse(&request, app, asked, &live),
        Err(refusal) => refusal.respond(&request, Form::Plain),
    };
    tell(standing, response)
}

/// Answers a body that [`is_seed`] with NDJSON lines: start, pieces of the result as they come, result or error, end.
pub(crate) fn respond_ndjson(
    request: &HttpRequest,
    app: Data<App>,
    principal: Principal,
    body: &[u8],
    live: &Live,
) -> HttpResponse {
    let asked = match Asked::read(request, body, &app, principal) {
        Ok(asked) => asked,
        Err(refusal) => return refusal.respond(request, Form::Plain),
    };
    let start = format!(
        "{{\"type\":\"start\",\"ts\":{},\"tool\":{},\"apiVersion\":\"{API_VERSION}\"}}\n",
        Timestamp::now().as_millisecond(),
        literal(&asked.tool),
    );
    let steps = asked.run(request, app, live).map(|step| match step {
        Step::Emitted(Emission::Chunk(piece)) => {
            let ts = Timestamp::now().as_millisecond();
            let piece = literal(&String::from_utf8_lossy(&piece));
            Bytes::from(format!("{{\"type\":\"chunk\",\"ts\":{ts},\"chunk\":{piece}}}\n"))
        }
        Step::Done(outcome) => last_lines(outcome),
        Step::Emitted(_) | Step::Ended => Bytes::new(),
    });
    let lines = stream::once(async { Bytes::from(start) }).chain(steps);
    let lines = lines.filter(|line| std::future::ready(!line.is_empty())).map(Ok::<_, Infallible>);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/x-ndjson"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((REQUEST_ID, request_id(request)))
        .streaming(lines)
}

/// The lines that end an answer.
fn last_lines(outcome: Result<CallResult, ToolError>) -> Bytes {
    let ts = Timestamp::now().as_millisecond();
    let mut lines = match outcome {
        Ok(result) => {
            let mut line = format!("{{\"type\":\"result\",\"ts\":{ts},\"result\":").into_bytes();
            write_result(&result, &mut line);
            line
        }
        Err(error) => {
            let mut line = format!("{{\"type\":\"error\",\"ts\":{ts},\"error\":").into_bytes();
            line.extend_from_slice(&error.to_json());
            line
        }
    };
    lines.extend_from_slice(format!("}}\n{{\"type\":\"end\",\"ts\":{ts}}}\n").as_bytes());
    lines.into()
}

/// A keep-alive comment at once, so that whatever lies between sees bytes; one each heartbeat; pieces of the result as they come; then the
/// one event that ends the stream.
fn respond_sse(request: &HttpRequest, app: Data<App>, asked: Asked, live: &Live) -> HttpResponse {
    let id = request_id(request);
    let event_id = id.to_str().unwrap_or_default().to_owned();
    let open = OpenEvents::new(&app);
    let opening = format!("keep-alive {}", Timestamp::now().as_millisecond());
    let (started, started_at, tool) = (Instant::now(), Timestamp::now(), asked.tool.clone());
    let events = asked.run(request, app, live).filter_map(move |step| {
        let _open = &open;
        let event = match step {
            Step::Emitted(Emission::Chunk(piece)) => {
                let (tool, piece) = (literal(&tool), literal(&String::from_utf8_lossy(&piece)));
                let data = format!("{{\"apiVersion\":\"{API_VERSION}\",\"tool\":{tool},\"chunk\":{piece}}}");
                Some(sse::Data::new(data).event("chunk").into())
            }
            Step::Done(outcome) => {
                let (name, data) = event(&tool, &outcome, started_at, started.elapsed());
                Some(sse::Data::new(data).event(name).id(event_id.clone()).into())
            }
            Step::Emitted(_) | Step::Ended => None,
        };
        std::future::ready(event)
    });
    let opening = stream::once(async { sse::Event::Comment(opening.into()) });
    let events = opening.chain(events).map(Ok::<_, Infallible>);
    let mut response =
        sse::Sse::from_stream(Box::pin(events)).with_keep_alive(live.limits.heartbeat).respond_to(request);
    let headers = response.headers_mut();
    for (name, value) in [NOT_KEPT, X_ACCEL_BUFFERING] {
        headers.insert(name, value);
    }
    headers.insert(actix_web::http::header::HeaderName::from_static(REQUEST_ID), id);
    response
}

/// A stream has no length, and HTTP/1.0 has no chunks (RFC 9112, section 6.1).
fn needs_http_1_1(request: &HttpRequest) -> Result<(), Refusal> {
    if request.version() > Version::HTTP_10 {
        return Ok(());
    }
    Err(Refusal::new(505, "HTTP_VERSION_NOT_SUPPORTED", "this dialect streams, which needs HTTP/1.1"))
}

/// A request of this dialect whose envelope is in order.
struct Asked {
    call: Call,
    tool: String,
    input: String,
}

impl Asked {
    /// Reads the envelope.
    ///
    /// # Errors
    /// 505 for HTTP/1.0, 400 for a body of another shape or a bad idempotency key, 404 for a tool this server does not have.
    fn read(request: &HttpRequest, body: &[u8], app: &App, principal: Principal) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            #[serde(borrow, default)]
            tool: Option<&'a RawValue>,
            #[serde(borrow, default)]
            input: Option<&'a RawValue>,
            #[serde(borrow, default, rename = "apiVersion")]
            api_version: Option<&'a RawValue>,
        }
        let invalid = |text: &str| {
            Refusal::new(400, "INVALID_INPUT", text).with_hint(r#"send {"tool":"changes.active","input":{}}"#)
        };
        needs_http_1_1(request)?;
        if !is_object(body) {
            return Err(invalid("the body must be one JSON object"));
        }
        let envelope: Envelope<'_> =
            serde_json::from_slice(body).map_err(|error| invalid(&format!("the body is no call: {error}")))?;
        if let Some(version) = envelope.api_version {
            let version: Option<Cow<'_, str>> = serde_json::from_str(version.get()).ok();
            if !version.is_some_and(|version| version == "1" || version.starts_with("1.")) {
                return Err(invalid("the field `apiVersion` must be a string of version 1, such as \"1.0.0\""));
            }
        }
        let tool = envelope.tool.ok_or_else(|| invalid("the field `tool` is missing"))?;
        let Ok(tool) = serde_json::from_str::<String>(tool.get()) else {
            return Err(Refusal::new(400, "INVALID_TOOL_NAME", "the field `tool` must be a string"));
        };
        if !app.executor.knows(&tool) {
            let names_a_tool = (1..=128).contains(&tool.len())
                && tool.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
            return Err(if names_a_tool {
                Refusal::new(404, "TOOL_NOT_FOUND", format!("no tool is named `{tool}`"))
                    .with_hint("the MCP method `tools/list` names the tools")
            } else {
                let text = "a tool's name has 1 to 128 characters of A-Z, a-z, 0-9, `_`, `-` and `.`";
                Refusal::new(400, "INVALID_TOOL_NAME", text)
            });
        }
        let input = envelope.input.map_or("{}", RawValue::get);
        if !input.starts_with('{') {
            return Err(invalid("the field `input` must be an object"));
        }
        let call = Call::new(principal).with_idempotency(idempotency_key(request, None)?);
        Ok(Self { call, tool, input: input.to_owned() })
    }
}

impl Asked {
    /// Runs the call: what it tells, and at last its outcome. Whoever does not read on takes the call along.
    fn run(
        self,
        request: &HttpRequest,
        app: Data<App>,
        live: &Live,
    ) -> impl Stream<Item = Step<Result<CallResult, ToolError>>> + 'static + use<> {
        let (outlet, emissions) = Outlet::open(Terms {
            waiting_bytes: live.limits.stream_buffer_bytes,
            messages: false,
            result_bytes: 0,
            connection: request.conn_data::<Arc<Entry>>().cloned(),
            cut: Some(app.metrics.mcp.streams_cut.clone()),
        });
        let Self { call, tool, input } = self;
        let call = call.with_context(Plain::context(outlet, app.state.bus()));
        let run = async move { app.executor.execute(&call, &tool, &input).await.outcome.map_err(Stop::into_error) };
        stream::unfold(Some(Driven::new(Box::pin(run), emissions)), |driven| async move {
            let mut driven = driven?;
            let step = driven.step().await;
            let more = matches!(step, Step::Emitted(_)).then_some(driven);
            Some((step, more))
        })
    }
}

/// Name and data of the event that ends a stream.
fn event(
    tool: &str,
    outcome: &Result<CallResult, ToolError>,
    started_at: Timestamp,
    duration: Duration,
) -> (&'static str, String) {
    let tool = literal(tool);
    match outcome {
        Ok(result) => {
            let head = format!(
                "{{\"apiVersion\":\"{API_VERSION}\",\"tool\":{tool},\"startedAt\":\"{started_at}\",\"duration\":{},\"result\":",
                duration.as_millis()
            );
            let mut data = head.into_bytes();
            write_result(result, &mut data);
            data.push(b'}');
            ("result", text(data))
        }
        Err(error) => {
            let head =
                format!("{{\"apiVersion\":\"{API_VERSION}\",\"tool\":{tool},\"startedAt\":\"{started_at}\",\"error\":");
            let mut data = head.into_bytes();
            data.extend_from_slice(&error.to_json());
            data.push(b'}');
            ("error", text(data))
        }
    }
}

fn write_result(result: &CallResult, out: &mut Vec<u8>) {
    out.push(b'{');
    result.write_fields(out);
    out.push(b'}');
}

fn literal(value: &str) -> String {
    text(json_string(value).into())
}

/// JSON that this server wrote is UTF-8; should a fragment not be, the client sees where.
fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

//! `POST /mcp`: JSON-RPC, or the seed's dialect when the body is one of it.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use task_mcp_mcp::{PARAM_PREFIX, Reply, RequestHeaders, Route, RpcError, code};
use task_mcp_tools::Principal;

use crate::app::App;
use crate::exchange::{Answered, Client, Outlet, serve as serve_request};
use crate::live::Live;
use crate::public::body::{drain_small, read_json};
use crate::public::once::{REPLAYED, idempotency_key};
use crate::public::rate::{Admitted, admit, tell};
use crate::public::refusal::{Form, REQUEST_ID, Refusal, own_request_id, single};
use crate::public::seed;

const PROTOCOL_VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// Serves one message. Every answer is one JSON object: nothing that exists so far needs a stream.
pub(crate) async fn post(request: HttpRequest, mut payload: Payload, app: Data<App>) -> HttpResponse {
    let live = app.live.load_full();
    match admit(&request, &app, &live).await {
        Ok(Admitted { principal, standing }) => {
            tell(standing, serve(&request, &mut payload, app, &live, principal).await)
        }
        Err(refusal) => {
            drain_small(&request, &mut payload).await;
            refusal.respond(&request, form_of(request.headers()))
        }
    }
}

async fn serve(
    request: &HttpRequest,
    payload: &mut Payload,
    app: Data<App>,
    live: &Live,
    principal: Principal,
) -> HttpResponse {
    let form = form_of(request.headers());
    let body = match read_json(request, payload, &app, &live.limits).await {
        Ok(body) => body,
        Err(refusal) => return refusal.respond(request, form),
    };
    let headers = match protocol_headers(request) {
        Ok(headers) => headers,
        Err(refusal) => return refusal.respond(request, form),
    };
    // A client of MCP says so in its headers; a body without them may be of the other dialect.
    if headers.protocol_version.is_none() && (form == Form::Plain || seed::is_seed(&body)) {
        return seed::respond_ndjson(request, app, principal, &body);
    }
    match app.engine.route(&body, &headers) {
        Route::Reply(reply) => respond(request, reply),
        Route::Notification(_) => HttpResponse::Accepted().finish(),
        Route::Response(_) => {
            let error = RpcError::invalid_request("the field `id` names no question of this server");
            respond(request, Reply::error(None, &error))
        }
        Route::Batch(_) => {
            let error =
                RpcError::invalid_request("a batch is not supported: send each message as a request of its own");
            respond(request, Reply::error(None, &error))
        }
        Route::Request(asked) => {
            let key = match idempotency_key(request, asked.idempotency_key.as_deref()) {
                Ok(key) => key,
                Err(refusal) => return refusal.respond(request, form),
            };
            let client = Client { idempotency: key, ..Client::of_request(principal, &asked) };
            let Answered { reply, replayed } = serve_request(&app, &asked, &client, &Outlet::closed()).await;
            let mut response = respond(request, reply);
            if replayed {
                let (name, value) = REPLAYED;
                response.headers_mut().insert(name, value);
            }
            response
        }
    }
}

fn respond(request: &HttpRequest, reply: Reply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.insert_header((CONTENT_TYPE, "application/json"));
    if let Some(id) = own_request_id(request) {
        response.insert_header((REQUEST_ID, id.clone()));
    }
    response.body(reply.body)
}

/// Before the body is read, `Accept` tells which dialect a client hopes for.
fn form_of(headers: &HeaderMap) -> Form {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("application/x-ndjson") && !accept.contains("application/json") {
        Form::Plain
    } else {
        Form::JsonRpc
    }
}

/// The headers that repeat arguments of a tool.
fn params_of(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    let params = headers.iter().filter(|(name, _)| name.as_str().starts_with(PARAM_PREFIX));
    params.map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

fn protocol_headers(request: &HttpRequest) -> Result<RequestHeaders<'_>, Refusal> {
    let text = |name| Ok(single(request, name)?.map(|value| value.to_str().unwrap_or_default()));
    let mismatch = |refusal: Refusal| refusal.with_rpc_code(code::HEADER_MISMATCH);
    Ok(RequestHeaders {
        protocol_version: text(PROTOCOL_VERSION).map_err(mismatch)?,
        method: text(METHOD).map_err(mismatch)?,
        name: text(NAME).map_err(mismatch)?,
        params: params_of(request.headers()),
    })
}

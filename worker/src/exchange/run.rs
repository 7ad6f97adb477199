//! Tools, prompts, resources and completions: what the executor runs.

use std::sync::Arc;

use actix_web::web::Data;
use serde_json::json;
use task_mcp_mcp::{Era, Freshness, Invocation, Reply, Request, RpcError, code, shown};
use task_mcp_tools::{Answer, Call, Stop, methods};

use super::Answered;
use super::asking::{SessionAsking, SharedMailbox};
use super::client::Client;
use super::context::{Asking, Context};
use super::mailbox::Mailbox;
use super::outlet::Outlet;
use super::pieces::{self, Told};
use super::rounds::Rounds;
use super::tasks;
use crate::app::App;

/// For no time: an agent that ticks a task and reads again must see it, and its own tools change the tree as anybody's editor does. Who
/// wants to keep what was read subscribes to it. For itself alone: who may read depends on who asks, so a cache that clients share, as in
/// a gateway, would let others in.
const READ: Freshness = Freshness { ttl_ms: 0, is_public: false };

/// `tools/call`.
pub(crate) async fn tool(
    app: &Data<App>,
    request: &Request<'_>,
    invocation: &Invocation<'_>,
    client: &Client,
    outlet: &Outlet,
) -> Answered {
    if !app.executor.knows(&invocation.name) {
        let text = format!("Unknown tool: {}; `tools/list` names the tools", shown(&invocation.name));
        return Reply::refusal(request, RpcError::invalid_params(text)).into();
    }
    let asking = match asking(app, request, client, outlet, !app.executor.is_read_only(&invocation.name)) {
        Ok(asking) => asking,
        Err(error) => return Reply::refusal(request, error).into(),
    };
    let context = Context::new(request, client, outlet, asking, app.state.bus());
    let answer = match tasks::becomes_task(app, request, client, &invocation.name) {
        Err(error) => return Reply::refusal(request, error).into(),
        Ok(true) => match tasks::create(app, request, invocation, client, &context).await {
            Ok(reply) => return reply.into(),
            Err(stop) => Answer::from(Err(stop)),
        },
        Ok(false) => {
            let call = Call::new(client.principal.clone())
                .with_idempotency(client.idempotency.clone())
                .with_context(Arc::clone(&context) as _);
            app.executor.execute(&call, &invocation.name, invocation.arguments).await
        }
    };
    let Answer { outcome, replayed } = answer;
    let told = context.told();
    if told == Told::Streamed {
        let tail = pieces::tail(&outcome.map_err(Stop::into_error));
        return Answered { reply: Reply::complete(&app.engine, request, 0, |_| {}), replayed, tail: Some(tail) };
    }
    let reply = match outcome.or_else(|stop| match stop {
        Stop::Error(error) => Ok(error.to_result()),
        other => Err(other),
    }) {
        Ok(result) => {
            let result = pieces::with_text(result, told);
            Reply::complete(&app.engine, request, result.size_hint(), |out| result.write_fields(out))
        }
        Err(stop) => stopped(app, request, client, &context, stop),
    };
    Answered { reply, replayed, tail: None }
}

/// `prompts/get`.
pub(crate) async fn prompt(
    app: &Data<App>,
    request: &Request<'_>,
    invocation: &Invocation<'_>,
    client: &Client,
    outlet: &Outlet,
) -> Answered {
    let name = json!(invocation.name);
    let arguments = format!("{{\"name\":{name},\"arguments\":{}}}", invocation.arguments);
    method(app, request, client, outlet, methods::GET_PROMPT, &arguments, None).await
}

/// `resources/read`.
pub(crate) async fn read_resource(
    app: &Data<App>,
    request: &Request<'_>,
    invocation: &Invocation<'_>,
    client: &Client,
    outlet: &Outlet,
) -> Answered {
    let arguments = json!({ "uri": invocation.name }).to_string();
    method(app, request, client, outlet, methods::READ_RESOURCE, &arguments, Some(READ)).await
}

/// `resources/list`.
pub(crate) async fn list_resources(
    app: &Data<App>,
    request: &Request<'_>,
    cursor: Option<&str>,
    client: &Client,
    outlet: &Outlet,
) -> Answered {
    let arguments = cursor.map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor })).to_string();
    method(app, request, client, outlet, methods::LIST_RESOURCES, &arguments, Some(READ)).await
}

/// `completion/complete`.
pub(crate) async fn complete(
    app: &Data<App>,
    request: &Request<'_>,
    params: &str,
    client: &Client,
    outlet: &Outlet,
) -> Answered {
    method(app, request, client, outlet, methods::COMPLETE, params, None).await
}

/// Runs a method whose result is the object it answers.
async fn method(
    app: &Data<App>,
    request: &Request<'_>,
    client: &Client,
    outlet: &Outlet,
    name: &str,
    arguments: &str,
    freshness: Option<Freshness>,
) -> Answered {
    let asking = match asking(app, request, client, outlet, false) {
        Ok(asking) => asking,
        Err(error) => return Reply::refusal(request, error).into(),
    };
    let context = Context::new(request, client, outlet, asking, app.state.bus());
    let call = Call::new(client.principal.clone()).with_context(Arc::clone(&context) as _);
    match app.executor.execute(&call, name, arguments).await.outcome {
        Ok(result) => {
            let object = result.structured.unwrap_or_default();
            match freshness {
                Some(freshness) => Reply::kept(&app.engine, request, freshness, &object).into(),
                None => Reply::of_object(&app.engine, request, "complete", &object).into(),
            }
        }
        Err(stop) => stopped(app, request, client, &context, stop).into(),
    }
}

/// How the client of a request can be asked; `writes` tells whether what is run may change something.
///
/// # Errors
/// What came with the request to continue an earlier one is not accepted.
fn asking(
    app: &App,
    request: &Request<'_>,
    client: &Client,
    outlet: &Outlet,
    writes: bool,
) -> Result<Asking, RpcError> {
    Ok(match (request.era, &client.session) {
        (Era::Modern, _) => {
            let (terms, lasts) = (app.sessions.terms(), app.live.load().limits.ask_timeout);
            let rounds = Rounds::open(&app.desk, (&terms.keys, lasts), request, client, writes)?;
            rounds.map_or(Asking::Never, Asking::Rounds)
        }
        // A client without a stream cannot be sent requests.
        (Era::Legacy, Some(session)) if outlet.is_open() && client.capabilities.can_be_asked() => {
            let mailbox: Arc<dyn Mailbox> = match &client.mailbox {
                Some(own) => Arc::clone(own),
                None => Arc::new(SharedMailbox::new(app, session)),
            };
            Asking::Session(SessionAsking::new(mailbox, &app.desk, &app.streams, app.live.load().limits.ask_timeout))
        }
        (Era::Legacy, _) => Asking::Never,
    })
}

/// What is answered when there is no result.
fn stopped(app: &App, request: &Request<'_>, client: &Client, context: &Context, stop: Stop) -> Reply {
    match stop {
        Stop::Protocol(mut error) => {
            // It was renumbered with 2026-07-28.
            let names_uri = error.data.as_ref().is_some_and(|data| data.get("uri").is_some());
            if request.era == Era::Legacy && error.code == code::INVALID_PARAMS && names_uri {
                error.code = code::RESOURCE_NOT_FOUND;
            }
            Reply::refusal(request, error)
        }
        Stop::NeedsInput { about, questions } => match context.rounds() {
            Some(rounds) => {
                let (terms, lasts) = (app.sessions.terms(), app.live.load().limits.ask_timeout);
                rounds.required(&app.engine, (&terms.keys, lasts), request, client, &about, &questions)
            }
            None => Reply::refusal(request, RpcError::internal("the client cannot be asked")),
        },
        Stop::Error(error) => {
            let invalid = [task_mcp_tools::code::INVALID_INPUT, task_mcp_tools::code::INSUFFICIENT_SCOPE];
            let text = error.to_string();
            let refusal = match invalid.contains(&error.code.as_ref()) {
                true => RpcError::invalid_params(text),
                false => RpcError::internal(text),
            };
            let data = serde_json::from_slice(&error.to_json()).unwrap_or_default();
            Reply::refusal(request, refusal.with_data(data))
        }
    }
}

//! One request of the protocol, served whatever transport it came over.
//!
//! A transport reads the message, finds out who sends it ([`Client`]), makes an [`Outlet`] for what the client is told before the
//! answer, and sends the answer this module gives.
//!
//! - `client`: who sends requests; `outlet`: what its client is told before the answer
//! - `context`: a call's side of its client; `run`: tools, prompts, resources, completions
//! - `rounds`: questions that end a request, to be answered with the next one; `asking`: questions on a legacy client's stream
//! - `listen`: streams of `subscriptions/listen`; `tasks`: the tasks extension; `session`: what a legacy session changes

mod asking;
mod client;
mod context;
mod listen;
mod outlet;
mod rounds;
mod run;
mod session;
pub(crate) mod tasks;

use actix_web::web::Data;
use task_mcp_mcp::{Method, Reply, Request};

pub(crate) use self::client::Client;
pub(crate) use self::outlet::Outlet;
use crate::app::App;

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) reply: Reply,
    /// Whether it is the answer an earlier call with the same idempotency key got.
    pub(crate) replayed: bool,
}

impl From<Reply> for Answered {
    fn from(reply: Reply) -> Self {
        Self { reply, replayed: false }
    }
}

/// Serves one request. Whoever drops the future takes the client's interest away: reads end, writes go on.
pub(crate) async fn serve(app: &Data<App>, request: &Request<'_>, client: &Client, outlet: &Outlet) -> Answered {
    if let Some(reply) = app.engine.told(request) {
        return reply.into();
    }
    match &request.method {
        Method::CallTool(invocation) => run::tool(app, request, invocation, client, outlet).await,
        Method::GetPrompt(invocation) => run::prompt(app, request, invocation, client, outlet).await,
        Method::ReadResource(invocation) => run::read_resource(app, request, invocation, client, outlet).await,
        Method::ListResources(cursor) => run::list_resources(app, request, cursor.as_deref(), client, outlet).await,
        Method::Complete(params) => run::complete(app, request, params, client, outlet).await,
        Method::SetLevel(level) => session::set_level(app, request, client, *level).await.into(),
        Method::Subscribe(uri) => session::subscribe(app, request, client, uri).await.into(),
        Method::Unsubscribe(uri) => session::unsubscribe(app, request, client, uri).await.into(),
        Method::Listen(filter) => listen::serve(app, request, filter, client, outlet).await.into(),
        Method::GetTask(id) => tasks::get(app, request, client, id).await.into(),
        Method::UpdateTask { id, responses } => tasks::update(app, request, client, id, responses).await.into(),
        Method::CancelTask(id) => tasks::cancel(app, request, client, id).await.into(),
        // Told above.
        Method::Initialize(_) | Method::Ping | Method::Discover | Method::List(_) => {
            Reply::refusal(request, task_mcp_mcp::RpcError::internal("the answer is missing")).into()
        }
    }
}

//! One request of the protocol, served whatever transport it came over.
//!
//! A transport reads the message, finds out who sends it ([`Client`]), makes an [`Outlet`] for what the client is told before the
//! answer, and sends the answer this module gives.
//!
//! - `client`: who sends requests; `outlet`: what its client is told before the answer; `driven`: a call driven by its reader
//! - `context`: a call's side of its client; `plain`: of one that hears pieces of its result alone; `run`: tools, prompts, resources,
//!   completions
//! - `rounds`: questions that end a request, to be answered with the next one; `asking`: questions on a legacy client's stream;
//!   `mailbox`: where their answers arrive; `desk`: what asking takes of the process
//! - `pieces`: results that are told while their call runs
//! - `streams`: the open streams of a process; `wanted`: what one of them tells of
//! - `listen`: streams of `subscriptions/listen`; `tasks`: the tasks extension; `session`: what a legacy session changes
//! - `unasked`: the streams of a legacy session that no request asked for; `turn`: which of them speaks
//! - `overheard`: the same where a client has one channel for all
//! - `kept`: streams of legacy requests that can be fetched again; `withdrawal`: how such a request is taken back
//! - `frames`: server-sent events as bytes

mod asking;
mod client;
mod context;
mod desk;
mod driven;
pub(crate) mod frames;
pub(crate) mod kept;
mod listen;
mod mailbox;
mod outlet;
mod overheard;
pub(crate) mod pieces;
mod plain;
mod rounds;
mod run;
mod session;
mod streams;
pub(crate) mod tasks;
mod turn;
pub(crate) mod unasked;
mod wanted;
mod withdrawal;

use actix_web::web::{Bytes, Data};
use task_mcp_mcp::{Method, Reply, Request, RpcError};

pub(crate) use self::asking::{letter, take_answer};
pub(crate) use self::client::Client;
pub(crate) use self::context::notification;
pub(crate) use self::desk::Desk;
pub(crate) use self::driven::{Driven, Step};
pub(crate) use self::listen::too_many_streams;
pub(crate) use self::mailbox::{Mailbox, OwnMailbox};
pub(crate) use self::outlet::{Emission, Outlet, Terms};
pub(crate) use self::overheard::overhear;
pub(crate) use self::plain::Plain;
pub(crate) use self::streams::{Holder, OpenEvents, OpenStream, Streams};
pub(crate) use self::withdrawal::{Cut, Withdrawals, Withdrawn};
use crate::app::App;
use crate::sessions::Session;

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) reply: Reply,
    /// Whether it is the answer an earlier call with the same idempotency key got.
    pub(crate) replayed: bool,
    /// What ends the result, if it was streamed up to the end of its text; the reply is none then.
    pub(crate) tail: Option<Bytes>,
}

impl From<Reply> for Answered {
    fn from(reply: Reply) -> Self {
        Self { reply, replayed: false, tail: None }
    }
}

/// Cancels a request of a session, wherever it is served; `request` is its id as JSON.
pub(crate) fn cancel(app: &App, session: &Session, request: &str) {
    // An id over the limit of the bus is one of a request that takes no notice.
    let _ = app.state.bus().publish(&session.cancelled(), request);
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
            Reply::refusal(request, RpcError::internal("the answer is missing")).into()
        }
    }
}

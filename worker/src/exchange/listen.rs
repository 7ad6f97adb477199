//! Streams of `subscriptions/listen`.
//!
//! Source: specification 2026-07-28, "Subscriptions"; tasks extension, "Task Status Notifications".

use std::collections::HashSet;
use std::pin::pin;

use actix_web::web::Data;
use serde_json::{Map, json};
use task_mcp_mcp::{Capability, Filter, Reply, Request, RpcError, code};
use task_mcp_state::TASK_TOPIC;
use task_mcp_telemetry::StreamKind;

use super::client::Client;
use super::context::notification;
use super::outlet::Outlet;
use super::wanted::{Gathered, News, Wanted, named};
use crate::app::App;

/// Tells of changes until the client leaves or the server stops; the answer ends the stream.
pub(crate) async fn serve(
    app: &Data<App>,
    request: &Request<'_>,
    filter: &Filter,
    client: &Client,
    outlet: &Outlet,
) -> Reply {
    if !outlet.is_open() {
        let text =
            "subscriptions/listen answers with a stream: send the header Accept: application/json, text/event-stream";
        return Reply::error(Some(request.id), &RpcError::invalid_request(text).with_status(406));
    }
    if !filter.tasks.is_empty() && !client.capabilities.has(Capability::Tasks) {
        return Reply::refusal(request, RpcError::missing_capability(Capability::Tasks));
    }
    let limits = app.live.load().limits;
    let mut honoured = filter.clone();
    distinct(&mut honoured.subscriptions);
    distinct(&mut honoured.tasks);
    if let Err(error) = check_size(&honoured, limits.subscriptions) {
        return Reply::refusal(request, error);
    }
    let Some(_place) = app.streams.take(app, client, StreamKind::Listen, limits.streams_per_principal) else {
        return Reply::error(Some(request.id), &too_many_streams(limits.streams_per_principal));
    };
    honour(app, client, &mut honoured).await;
    // Before it is acknowledged, so that the client hears of all that changes from then on.
    let mut topics: Vec<String> = Wanted::TOPICS.iter().map(|topic| (*topic).to_owned()).collect();
    topics.extend(honoured.tasks.iter().map(|task| format!("{TASK_TOPIC}{task}")));
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut subscription = app.state.bus().subscribe(&topics);
    let id = request.id.as_json();
    outlet.push(acknowledged(&honoured, id));

    let wanted = Wanted::new(honoured, &app.registry);
    let mut gathered = Gathered::default();
    let mut barred = pin!(app.streams.barred(app, client));
    loop {
        tokio::select! {
            heard = subscription.next() => wanted.note(&heard, &mut gathered),
            () = gathered.due() => tell(app, client, outlet, id, &mut gathered).await,
            () = &mut barred => return Reply::closing(&app.engine, request),
            () = app.streams.ending() => return Reply::closing(&app.engine, request),
            // Whoever drives this drops it then.
            () = outlet.left() => std::future::pending().await,
        }
    }
}

async fn tell(app: &Data<App>, client: &Client, outlet: &Outlet, id: &str, gathered: &mut Gathered) {
    for news in gathered.take() {
        let task = match &news {
            News::Task(task) => {
                match super::tasks::detailed(app, &super::tasks::owner(&client.principal), task).await {
                    Some(task) => Some(task),
                    // It has ended, and was forgotten.
                    None => continue,
                }
            }
            _ => None,
        };
        outlet.push(news.to_message(Some(id), task));
    }
}

/// Leaves what this server can tell this client of.
async fn honour(app: &Data<App>, client: &Client, filter: &mut Filter) {
    filter.prompts &= app.engine.offers_prompts();
    filter.resources &= app.engine.offers_resources();
    filter.subscriptions.retain(|uri| app.registry.owns(uri));
    for task in std::mem::take(&mut filter.tasks) {
        if super::tasks::detailed(app, &super::tasks::owner(&client.principal), &task).await.is_some() {
            filter.tasks.push(task);
        }
    }
}

/// The first message of the stream: what it will tell of. `id` is the JSON of the stream's id.
fn acknowledged(filter: &Filter, id: &str) -> actix_web::web::Bytes {
    let mut honoured = Map::new();
    for (name, wished) in [
        ("toolsListChanged", filter.tools),
        ("promptsListChanged", filter.prompts),
        ("resourcesListChanged", filter.resources),
    ] {
        if wished {
            honoured.insert(name.into(), true.into());
        }
    }
    for (name, list) in [("resourceSubscriptions", &filter.subscriptions), ("taskIds", &filter.tasks)] {
        if !list.is_empty() {
            honoured.insert(name.into(), json!(list));
        }
    }
    notification("notifications/subscriptions/acknowledged", &named(&json!({ "notifications": honoured }), id))
}

/// Merges what was named twice; the order stays.
fn distinct(names: &mut Vec<String>) {
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
}

fn check_size(filter: &Filter, limit: u32) -> Result<(), RpcError> {
    for (field, count) in [("resourceSubscriptions", filter.subscriptions.len()), ("taskIds", filter.tasks.len())] {
        if count > limit as usize {
            let text = format!(
                "the field `params.notifications.{field}` names {count} and one stream has at most {limit} \
                 (limits.subscriptions); open several streams, or name fewer"
            );
            return Err(RpcError::invalid_params(text).with_data(json!({ "limit": limit })));
        }
    }
    Ok(())
}

/// What a principal is told that has as many streams as it may.
pub(crate) fn too_many_streams(limit: u32) -> RpcError {
    let text = format!(
        "{limit} streams of this principal are open in this worker already (limits.streams_per_principal); close one, or name more \
         resources on fewer streams"
    );
    RpcError::new(code::LIMITED, text).with_status(429).with_data(json!({ "limit": limit }))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use task_mcp_mcp::SUBSCRIPTION_ID;

    #[test]
    fn what_is_named_twice_counts_once_and_too_much_is_refused_by_name() {
        let mut filter = Filter { subscriptions: vec!["a".into(), "b".into(), "a".into()], ..Filter::default() };
        distinct(&mut filter.subscriptions);
        assert_eq!(filter.subscriptions, ["a", "b"]);
        assert_eq!(check_size(&filter, 2), Ok(()));
        let error = check_size(&filter, 1).unwrap_err();
        assert!(error.message.contains("limits.subscriptions") && error.message.contains("resourceSubscriptions"));
    }

    #[test]
    fn only_what_is_honoured_is_acknowledged() {
        let filter = Filter { tools: true, subscriptions: vec!["a:b".into()], ..Filter::default() };
        let message: Value = serde_json::from_slice(&acknowledged(&filter, r#""x""#)).unwrap();
        assert_eq!(message["method"], "notifications/subscriptions/acknowledged");
        let notifications = json!({ "toolsListChanged": true, "resourceSubscriptions": ["a:b"] });
        assert_eq!(message["params"], json!({ "_meta": { SUBSCRIPTION_ID: "x" }, "notifications": notifications }));
    }
}

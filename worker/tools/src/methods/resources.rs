//! `resources/list` and `resources/read`.

use std::sync::Arc;

use serde_json::{Value, json};
use task_mcp_cache::Tag;
use task_mcp_mcp::{ResourceContents, RpcError, ToolDescription, shown};

use super::{LIST_RESOURCES, READ_RESOURCE, describe};
use crate::call::Call;
use crate::error::ToolError;
use crate::offers::Resources;
use crate::stop::Stop;
use crate::tool::{BoxFuture, CachePolicy, Output, Tool};

/// Lists what all providers list, one after the other. A list is told anew to everybody who asks: providers hold it in memory, and
/// what it says of its resources, such as their sizes, changes more often than which there are.
pub(super) struct List(pub(super) Vec<Arc<dyn Resources>>);

impl Tool for List {
    fn describe(&self) -> ToolDescription {
        describe(LIST_RESOURCES, json!({ "cursor": { "type": "string" } }), &[])
    }

    fn error_codes(&self) -> &'static [&'static str] {
        &[]
    }

    fn call<'a>(&'a self, call: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, Stop>> {
        Box::pin(async move {
            let cursor = arguments.get("cursor").and_then(Value::as_str);
            let (place, inner) = place_of(cursor, self.0.len())?;
            let Some(provider) = self.0.get(place) else { return Ok(Output::of(&json!({ "resources": [] }))?) };
            let page = provider.list(call, inner).await?;
            let next = match page.next {
                Some(inner) => Some(format!("{place}.{inner}")),
                None => Some(place + 1).filter(|next| *next < self.0.len()).map(|next| format!("{next}.")),
            };
            let mut result = json!({ "resources": page.resources });
            if let (Some(next), Some(fields)) = (next, result.as_object_mut()) {
                fields.insert("nextCursor".into(), next.into());
            }
            Ok(Output::of(&result)?)
        })
    }
}

/// Which provider a cursor leads to, and where in its list.
fn place_of(cursor: Option<&str>, providers: usize) -> Result<(usize, Option<&str>), RpcError> {
    let Some(cursor) = cursor else { return Ok((0, None)) };
    let unknown = || RpcError::invalid_params("the field `params.cursor` is not a cursor of this server");
    let (place, inner) = cursor.split_once('.').ok_or_else(unknown)?;
    let place = place.parse().ok().filter(|place| *place < providers).ok_or_else(unknown)?;
    Ok((place, Some(inner).filter(|inner| !inner.is_empty())))
}

/// Reads a resource by its URI.
pub(super) struct Read(pub(super) Vec<Arc<dyn Resources>>);

impl Read {
    /// The providers that may have the resource.
    fn owners(&self, arguments: &Value) -> impl Iterator<Item = &Arc<dyn Resources>> {
        let uri = uri(arguments).to_owned();
        self.0.iter().filter(move |provider| provider.owns(&uri))
    }
}

fn uri(arguments: &Value) -> &str {
    arguments.get("uri").and_then(Value::as_str).unwrap_or_default()
}

/// There is no resource of that URI, for that reason. It is told in data too, by which it is known (specification 2026-07-28,
/// "Resources", error handling).
pub(crate) fn not_found(uri: &str, reason: Option<&ToolError>) -> RpcError {
    let mut text = format!("Resource not found: {}", shown(uri));
    let mut data = json!({ "uri": shown(uri) });
    if let (Some(reason), Some(fields)) = (reason, data.as_object_mut()) {
        text.push_str(&format!(" ({})", reason.message));
        if let Some(hint) = &reason.hint {
            text.push_str(&format!(". {hint}"));
        }
        fields.insert("reason".into(), json!(reason));
    }
    RpcError::invalid_params(text).with_data(data)
}

impl Tool for Read {
    fn describe(&self) -> ToolDescription {
        describe(READ_RESOURCE, json!({ "uri": { "type": "string" } }), &["uri"])
    }

    fn error_codes(&self) -> &'static [&'static str] {
        &[]
    }

    /// What its provider says; where several may have the resource, nothing is kept.
    fn cache_for(&self, arguments: &Value) -> CachePolicy {
        let mut owners = self.owners(arguments);
        match (owners.next(), owners.next()) {
            (Some(owner), None) => owner.cache(),
            _ => CachePolicy::Off,
        }
    }

    fn tags(&self, arguments: &Value) -> Vec<Tag> {
        let uri = uri(arguments);
        self.owners(arguments).flat_map(|provider| provider.tags(uri)).collect()
    }

    fn call<'a>(&'a self, call: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, Stop>> {
        Box::pin(async move {
            let uri = uri(&arguments);
            for provider in self.owners(&arguments) {
                if let Some(contents) = provider.read(call, uri).await? {
                    let contents: Vec<Value> = contents.iter().map(ResourceContents::to_json).collect();
                    return Ok(Output::of(&json!({ "contents": contents }))?);
                }
            }
            Err(not_found(uri, None).into())
        })
    }
}

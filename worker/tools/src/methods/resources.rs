//! `resources/list` and `resources/read`.

use std::sync::Arc;

use serde_json::{Value, json};
use task_mcp_cache::Tag;
use task_mcp_mcp::{ResourceContents, RpcError, ToolDescription, shown};

use super::{LIST_RESOURCES, READ_RESOURCE, describe};
use crate::call::Call;
use crate::offers::Resources;
use crate::stop::Stop;
use crate::tool::{BoxFuture, Output, Tool};

/// Lists what all providers list, one after the other.
pub(super) struct List(pub(super) Vec<Arc<dyn Resources>>);

impl Tool for List {
    fn describe(&self) -> ToolDescription {
        describe(LIST_RESOURCES, json!({ "cursor": { "type": "string" } }), &[])
    }

    fn error_codes(&self) -> &'static [&'static str] {
        &[]
    }

    fn tags(&self, _: &Value) -> Vec<Tag> {
        self.0.iter().flat_map(|provider| provider.list_tags()).collect()
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

impl Tool for Read {
    fn describe(&self) -> ToolDescription {
        describe(READ_RESOURCE, json!({ "uri": { "type": "string" } }), &["uri"])
    }

    fn error_codes(&self) -> &'static [&'static str] {
        &[]
    }

    fn tags(&self, arguments: &Value) -> Vec<Tag> {
        let uri = arguments.get("uri").and_then(Value::as_str).unwrap_or_default();
        self.0.iter().filter(|provider| provider.owns(uri)).flat_map(|provider| provider.tags(uri)).collect()
    }

    fn call<'a>(&'a self, call: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, Stop>> {
        Box::pin(async move {
            let uri = arguments.get("uri").and_then(Value::as_str).unwrap_or_default();
            for provider in self.0.iter().filter(|provider| provider.owns(uri)) {
                if let Some(contents) = provider.read(call, uri).await? {
                    let contents: Vec<Value> = contents.iter().map(ResourceContents::to_json).collect();
                    return Ok(Output::of(&json!({ "contents": contents }))?);
                }
            }
            let error = RpcError::invalid_params(format!("Resource not found: {}", shown(uri)));
            Err(error.with_data(json!({ "uri": uri })).into())
        })
    }
}

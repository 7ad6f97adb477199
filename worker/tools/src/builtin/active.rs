//! `changes.active`.

use std::sync::Arc;

use serde_json::{Value, json};
use task_mcp_cache::Tag;
use task_mcp_changes::{ActiveQuery, ChangesError, Store};
use task_mcp_mcp::ToolDescription;

use super::schema::{self, count, integer, list, text};
use super::{Outline, answer, tags, typed};
use crate::call::Call;
use crate::stop::Stop;
use crate::tool::{BoxFuture, CachePolicy, Output, Partition, Tool};

/// A page of active changes.
pub(super) struct Active(pub(super) Arc<dyn Store>);

pub(super) fn describe() -> ToolDescription {
    Outline {
        name: "changes.active",
        title: "Active changes",
        description: "Lists the changes that are under way, the most recently edited first, with their tasks done and in all. \
                      Call it first; it needs no arguments.",
        input: schema::closed(
            json!({
                "page": integer("Page, from 1", 1, 1_000_000, Some(1)),
                "pageSize": integer("Changes on a page", 1, 200, Some(50)),
                "pageToken": json!({ "type": "string", "maxLength": 1024, "description": "nextPageToken of the page before; wins over page" }),
                "owner": text("Only changes with this owner"),
                "template": json!({ "type": "string", "enum": ["feature", "bugfix", "chore"], "description": "Only changes of this kind" }),
            }),
            &[],
        ),
        output: schema::open(
            json!({
                "apiVersion": text("Version of this shape"),
                "items": list(schema::open(
                    json!({
                        "slug": text("Name of the change"),
                        "title": text("Title"),
                        "status": json!({ "const": "draft" }),
                        "paths": schema::texts(&["root"]),
                        "updatedAt": text("When a file of it was last edited"),
                        "createdAt": text("Day it was created"),
                        "template": text("Kind"),
                        "owner": text("Owner"),
                        "tasks": schema::tasks(),
                    }),
                    &["slug", "title", "status", "paths", "updatedAt", "tasks"],
                )),
                "page": count("Page, from 1"),
                "pageSize": count("Changes on a page"),
                "total": count("Changes in all"),
                "nextPageToken": text("Token of the next page; absent on the last"),
                "toolVersions": schema::texts(&[]),
            }),
            &["apiVersion", "items", "page", "pageSize", "total"],
        ),
        writes: false,
    }
    .into()
}

impl Tool for Active {
    fn describe(&self) -> ToolDescription {
        describe()
    }

    fn error_codes(&self) -> &'static [&'static str] {
        ChangesError::CODES
    }

    /// Everybody sees the same tree, and nothing in it depends on the time.
    fn cache(&self) -> CachePolicy {
        CachePolicy::On { partition: Partition::Public, ttl: None, stale: true, facts: &[] }
    }

    fn tags(&self, _: &Value) -> Vec<Tag> {
        vec![tags::changes(), tags::everything()]
    }

    fn call<'a>(&'a self, _: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, Stop>> {
        Box::pin(async move { answer(self.0.active(typed::<ActiveQuery>(arguments)?).await) })
    }
}

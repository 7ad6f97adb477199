//! `change.show`.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use task_mcp_cache::Tag;
use task_mcp_changes::{ChangesError, Store};
use task_mcp_mcp::ToolDescription;

use super::schema::{self, count, list, text};
use super::{Outline, answer, slug, tags, typed};
use crate::call::Call;
use crate::stop::Stop;
use crate::tool::{BoxFuture, CachePolicy, Output, Partition, Tool};

/// One change.
pub(super) struct Show(pub(super) Arc<dyn Store>);

#[derive(Deserialize)]
struct Arguments {
    slug: String,
}

pub(super) fn describe() -> ToolDescription {
    Outline {
        name: "change.show",
        title: "Show a change",
        description: "Shows one change: handles of its documents, what its deltas add, modify, remove and rename in the living \
                      specs, its tasks, and who holds its lock.",
        input: schema::closed(json!({ "slug": schema::slug() }), &["slug"]),
        output: schema::open(
            json!({
                "apiVersion": text("Version of this shape"),
                "slug": text("Name of the change"),
                "title": text("Title"),
                "status": json!({ "const": "draft" }),
                "documents": list(schema::open(
                    json!({
                        "resourceUri": text("Handle"),
                        "path": text("Path below the root"),
                        "sizeBytes": count("Size in bytes"),
                        "updatedAt": text("When it was last edited"),
                    }),
                    &["resourceUri", "path", "sizeBytes", "updatedAt"],
                )),
                "deltas": list(schema::open(
                    json!({
                        "capability": text("Capability"),
                        "operation": json!({ "enum": ["ADDED", "MODIFIED", "REMOVED", "RENAMED"] }),
                        "requirement": text("Requirement"),
                        "rename": schema::texts(&["from", "to"]),
                    }),
                    &["capability", "operation", "requirement"],
                )),
                "tasks": list(schema::open(
                    json!({ "index": count("Place in the list"), "text": text("Task"), "done": json!({ "type": "boolean" }) }),
                    &["index", "text", "done"],
                )),
                "taskCounts": schema::tasks(),
                "lock": schema::open(
                    json!({
                        "owner": text("Who holds it"),
                        "since": text("Since when"),
                        "ttl": count("Life in seconds"),
                        "expiresAt": text("When it ends"),
                    }),
                    &["owner", "since", "ttl", "expiresAt"],
                ),
                "toolVersions": schema::texts(&[]),
            }),
            &["apiVersion", "slug", "title", "status", "documents", "deltas", "tasks", "taskCounts"],
        ),
        writes: false,
    }
    .into()
}

impl Tool for Show {
    fn describe(&self) -> ToolDescription {
        describe()
    }

    fn error_codes(&self) -> &'static [&'static str] {
        ChangesError::CODES
    }

    /// Everybody sees the same change. A lock that runs out bumps nothing: so long it may be shown beyond its `expiresAt`.
    fn cache(&self) -> CachePolicy {
        let ttl = Some(Duration::from_secs(10));
        CachePolicy::On { partition: Partition::Public, ttl, stale: false, facts: &["ENOCHANGE", "EARCHIVED"] }
    }

    fn tags(&self, arguments: &Value) -> Vec<Tag> {
        vec![tags::change_of(arguments), tags::everything()]
    }

    fn call<'a>(&'a self, _: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, Stop>> {
        Box::pin(async move {
            let arguments: Arguments = typed(arguments)?;
            answer(self.0.show(&slug(&arguments.slug)?).await)
        })
    }
}

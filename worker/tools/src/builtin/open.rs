//! `change.open`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use task_mcp_cache::Tag;
use task_mcp_changes::{ChangesError, OpenRequest, Store, Template};
use task_mcp_mcp::ToolDescription;

use super::schema::{self, integer, list, text};
use super::{Outline, aftermath, refusal, slug, tags, typed};
use crate::call::Call;
use crate::stop::Stop;
use crate::tool::{Aftermath, BoxFuture, Output, Tool};

/// Creates or resumes a change.
pub(super) struct Open(pub(super) Arc<dyn Store>);

#[derive(Deserialize)]
struct Arguments {
    slug: String,
    title: String,
    rationale: Option<String>,
    owner: Option<String>,
    ttl: Option<u64>,
    #[serde(default)]
    template: Template,
}

pub(super) fn describe() -> ToolDescription {
    Outline {
        name: "change.open",
        title: "Open a change",
        description: "Opens a change: creates its proposal, tasks and a first delta from a template, or resumes it if it is there, \
                      and takes its lock. The result names what is still missing before the change validates.",
        input: schema::closed(
            json!({
                "slug": schema::slug(),
                "title": json!({ "type": "string", "minLength": 1, "maxLength": 200, "description": "Title, one line" }),
                "rationale": json!({
                    "type": "string", "maxLength": 10_000, "description": "Why; becomes the proposal's section Why",
                }),
                "owner": json!({
                    "type": "string", "maxLength": 200,
                    "description": "A label for the proposal; the lock belongs to the caller",
                }),
                "ttl": integer("Life of the lock in seconds", 60, 86_400, Some(3_600)),
                "template": json!({
                    "type": "string", "enum": ["feature", "bugfix", "chore"], "default": "feature",
                    "description": "What a new change starts from",
                }),
            }),
            &["slug", "title"],
        ),
        output: schema::open(
            json!({
                "apiVersion": text("Version of this shape"),
                "slug": text("Name of the change"),
                "status": json!({ "const": "draft" }),
                "created": json!({ "type": "boolean", "description": "False if it was there" }),
                "locked": json!({ "type": "boolean" }),
                "lockExpiresAt": text("When the lock ends"),
                "paths": schema::texts(&["root", "proposal", "tasks", "delta"]),
                "resourceUris": schema::texts(&["proposal", "tasks", "delta"]),
                "missing": list(text("What is still to be filled in")),
                "toolVersions": schema::texts(&[]),
            }),
            &["apiVersion", "slug", "status", "created", "locked", "paths", "resourceUris", "missing", "toolVersions"],
        ),
        writes: true,
    }
    .into()
}

impl Tool for Open {
    fn describe(&self) -> ToolDescription {
        describe()
    }

    fn error_codes(&self) -> &'static [&'static str] {
        ChangesError::CODES
    }

    fn aftermath(&self, code: &str) -> Aftermath {
        aftermath(code)
    }

    fn tags(&self, arguments: &Value) -> Vec<Tag> {
        vec![tags::changes(), tags::change_of(arguments)]
    }

    fn call<'a>(&'a self, call: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, Stop>> {
        Box::pin(async move {
            let Arguments { slug: name, title, rationale, owner, ttl, template } = typed(arguments)?;
            let principal = call.principal.name().to_owned();
            let request = OpenRequest { slug: slug(&name)?, title, rationale, owner, ttl, template, principal };
            let opened = self.0.open(request).await.map_err(refusal)?;
            let touched = if opened.created { vec![tags::documents(), tags::folder_of(&name)] } else { Vec::new() };
            Ok(Output::of(&opened)?.touching(touched))
        })
    }
}

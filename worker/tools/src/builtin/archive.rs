//! `change.archive`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use task_mcp_cache::Tag;
use task_mcp_changes::{ArchiveRequest, ArchivedChange, ChangesError, DocumentName, Store};
use task_mcp_mcp::ToolDescription;

use super::schema::{self, count, list, text};
use super::{Outline, aftermath, refusal, slug, tags, typed};
use crate::call::Call;
use crate::stop::Stop;
use crate::tool::{Aftermath, BoxFuture, Output, Tool};

/// Merges a change into the living specs and moves it to the archive.
pub(super) struct Archive(pub(super) Arc<dyn Store>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    slug: String,
    #[serde(default)]
    allow_open_tasks: bool,
}

pub(super) fn describe() -> ToolDescription {
    Outline {
        name: "change.archive",
        title: "Archive a change",
        description: "Ships a finished change: checks it, merges its deltas into the living specs, writes receipt.json, moves it to \
                      the archive and drops its lock. A change with open tasks is refused unless allowOpenTasks is true.",
        input: schema::closed(
            json!({
                "slug": schema::slug(),
                "allowOpenTasks": json!({ "type": "boolean", "default": false, "description": "Archive although tasks are open" }),
            }),
            &["slug"],
        ),
        output: schema::open(
            json!({
                "apiVersion": text("Version of this shape"),
                "slug": text("Name of the change"),
                "archived": json!({ "type": "boolean" }),
                "alreadyArchived": json!({ "type": "boolean", "description": "True if it was archived before this call" }),
                "archivedAs": text("Name in the archive"),
                "receipt": schema::open(
                    json!({
                        "slug": text("Name of the change"),
                        "commits": list(text("Commit")),
                        "filesTouched": list(text("Path below the root")),
                        "tests": schema::open(
                            json!({ "added": count("Tests added"), "updated": count("Tests changed"), "passed": json!({ "type": "boolean" }) }),
                            &["added", "updated", "passed"],
                        ),
                        "archivedAt": text("When"),
                        "toolVersions": schema::texts(&[]),
                    }),
                    &["slug", "commits", "filesTouched", "tests", "archivedAt", "toolVersions"],
                ),
                "totals": schema::open(
                    json!({
                        "added": count("Requirements added"),
                        "modified": count("Requirements replaced"),
                        "removed": count("Requirements removed"),
                        "renamed": count("Requirements renamed"),
                    }),
                    &["added", "modified", "removed", "renamed"],
                ),
                "warnings": list(text("Warning")),
                "toolVersions": schema::texts(&[]),
            }),
            &["apiVersion", "slug", "archived", "alreadyArchived", "archivedAs", "receipt"],
        ),
        writes: true,
    }
    .into()
}

impl Tool for Archive {
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
        vec![tags::changes(), tags::change_of(arguments), tags::specs()]
    }

    fn call<'a>(&'a self, call: &'a Call, arguments: Value) -> BoxFuture<'a, Result<Output, Stop>> {
        Box::pin(async move {
            let Arguments { slug: name, allow_open_tasks } = typed(arguments)?;
            let principal = call.principal.name().to_owned();
            let request = ArchiveRequest { slug: slug(&name)?, allow_open_tasks, principal };
            let archived = self.0.archive(request).await.map_err(refusal)?;
            Ok(Output::of(&archived)?.touching(touched(&archived)))
        })
    }
}

/// The documents that went with the change, and the specs it was merged into. One archived before was told of then.
fn touched(archived: &ArchivedChange) -> Vec<Tag> {
    if archived.already_archived {
        return Vec::new();
    }
    let files = archived.receipt.files_touched.iter().filter_map(|path| path.strip_prefix("openspec/"));
    let documents = files.filter_map(DocumentName::of_path).map(|name| tags::document(&name));
    documents.chain([tags::documents(), tags::folder_of(archived.slug.as_str())]).collect()
}

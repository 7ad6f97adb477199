//! `change.archive`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use task_mcp_cache::Tag;
use task_mcp_changes::{ArchiveRequest, ArchivedChange, ChangesError, DocumentName, OpenTasks, Store};
use task_mcp_mcp::{Answers, Capability, Question, Questions, ToolDescription};

use super::schema::{self, count, list, text};
use super::{Outline, aftermath, refusal, slug, tags, typed};
use crate::call::Call;
use crate::error::ToolError;
use crate::stop::Stop;
use crate::tool::{Aftermath, BoxFuture, Output, Tool};

/// Merges a change into the living specs and moves it to the archive.
pub(super) struct Archive(pub(super) Arc<dyn Store>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    slug: String,
    #[serde(default)]
    allow_open_tasks: Option<bool>,
}

pub(super) fn describe() -> ToolDescription {
    Outline {
        name: "change.archive",
        title: "Archive a change",
        description: "Ships a finished change: checks it, merges its deltas into the living specs, writes receipt.json, moves it to \
                      the archive and drops its lock. If tasks are open, the user is asked; without a way to ask, it is refused unless \
                      allowOpenTasks is true.",
        input: schema::closed(
            json!({
                "slug": schema::slug(),
                "allowOpenTasks": json!({
                    "type": "boolean",
                    "description": "true: archive although tasks are open; false: refuse then; left out: the user is asked, or it is refused",
                }),
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
            let (slug, principal) = (slug(&name)?, call.principal.name().to_owned());
            let mut open_tasks = match allow_open_tasks {
                Some(true) => OpenTasks::Allow,
                Some(false) | None => OpenTasks::Refuse,
            };
            let may_ask = allow_open_tasks.is_none() && call.can(Capability::Elicitation);
            // Tasks that change while somebody is asked about them are another question; each turn has an answer of a person.
            loop {
                let request = ArchiveRequest { slug: slug.clone(), open_tasks, principal: principal.clone() };
                match self.0.archive(request).await {
                    Err(ChangesError::OpenTasks { slug, open, total, first, tag }) if may_ask => {
                        let about = format!("tasks of {slug}: {tag}");
                        let answers = call.ask(&about, &question(&slug, open, total, &first)).await?;
                        agreed(&answers, &slug, open, total)?;
                        open_tasks = OpenTasks::AllowSeen(tag);
                    }
                    outcome => {
                        let archived = outcome.map_err(refusal)?;
                        return Ok(Output::of(&archived)?.touching(touched(&archived)));
                    }
                }
            }
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

/// Names the question and its field.
const ARCHIVE: &str = "archive";

/// Whether to archive although tasks are open.
fn question(slug: &str, open: usize, total: usize, first: &[String]) -> Questions {
    let named: Vec<String> = first.iter().map(|task| format!("\"{task}\"")).collect();
    let more = if open > first.len() { ", …" } else { "" };
    let message = format!(
        "The change \"{slug}\" has {open} open task(s) of {total}: {}{more}. Archive it all the same?",
        named.join(", ")
    );
    let field = json!({
        "type": "boolean",
        "title": "Archive with open tasks",
        "description": "The tasks stay open in the archive",
        "default": false,
    });
    let schema = json!({ "type": "object", "properties": { ARCHIVE: field }, "required": [ARCHIVE] });
    Questions::one(ARCHIVE, Question::Elicit { message, schema })
}

/// An error unless the user wants it.
fn agreed(answers: &Answers, slug: &str, open: usize, total: usize) -> Result<(), ToolError> {
    let answer = answers.get(ARCHIVE);
    let field = |pointer| answer.and_then(|answer: &Value| answer.pointer(pointer));
    let action = field("/action").and_then(Value::as_str).unwrap_or("cancel");
    if action == "accept" && field("/content/archive") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    let message =
        format!("change {slug:?} has {open} open task(s) of {total}, and the user does not want to archive it so");
    Err(ToolError::new("EOPENTASKS", message)
        .with_hint("Finish the tasks. Pass allowOpenTasks: true only if the user asks for it.")
        .with_details(json!({ "slug": slug, "open": open, "total": total, "answer": action })))
}

//! `list`: active changes, or main specs.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::args::{Args, Known};
use super::order::by_name;
use super::{CliOutput, Root, Status, error_text, json, tree};
use crate::clock::Clock;
use crate::spec::ParsedSpec;
use crate::text::iso_ms;
use crate::tree::{FileError, Tree, newest_mtime_ms};

const USAGE: &str = "Usage: openspec list [--specs | --changes] [--sort recent|name] [--json]\n\n\
    List items (changes by default). Use --specs to list specs.\n";

const NO_ROOT: &str = "No OpenSpec root found from the current directory.";
const NO_ROOT_FIX: &str = "Run openspec init to create a root here.";

pub(super) fn run(argv: &[String], cwd: &Path, clock: &dyn Clock) -> CliOutput {
    let flag = |name: &'static [&'static str]| Known { names: name, takes_value: false };
    let known =
        [flag(&["--json"]), flag(&["--specs"]), flag(&["--changes"]), Known { names: &["--sort"], takes_value: true }];
    let args = match Args::parse("list", USAGE, &known, 0, argv) {
        Ok(args) => args,
        Err(output) => return output,
    };
    let (as_json, specs) = (args.has("--json"), args.has("--specs"));
    let (tree, root) = tree(cwd);
    if root.source == "implicit" {
        return no_root(as_json, specs);
    }
    let listed = if specs { list_specs(&tree, as_json, root) } else { list_changes(&tree, &args, root, clock) };
    listed.unwrap_or_else(|error| CliOutput::failed(String::new(), error_text(&error.to_string(), None)))
}

/// A row of `list --json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    name: String,
    completed_tasks: usize,
    total_tasks: usize,
    last_modified: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nested: Option<Vec<String>>,
    #[serde(skip)]
    modified_ms: i64,
    #[serde(skip)]
    warning: Option<String>,
}

#[derive(Serialize)]
struct Warning {
    code: &'static str,
    name: String,
    nested: Vec<String>,
    message: String,
}

#[derive(Serialize)]
struct Changes {
    changes: Vec<Change>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
    root: Root,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    id: String,
    requirement_count: usize,
}

#[derive(Serialize)]
struct Specs {
    specs: Vec<Spec>,
    root: Root,
}

fn list_changes(tree: &Tree, args: &Args, root: Root, clock: &dyn Clock) -> Result<CliOutput, FileError> {
    let mut changes = Vec::new();
    for name in tree.change_names()? {
        match change(tree, name) {
            // A change archived while the list is made is not in it.
            Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            other => changes.push(other?),
        }
    }
    if args.value("--sort") == Some("name") {
        changes.sort_by(|a, b| by_name(&a.name, &b.name));
    } else {
        changes.sort_by(|a, b| b.modified_ms.cmp(&a.modified_ms).then_with(|| a.name.cmp(&b.name)));
    }
    if !args.has("--json") {
        return Ok(CliOutput::ok(changes_text(&changes, clock)));
    }
    let warnings = changes.iter().filter_map(warning).collect();
    Ok(CliOutput::ok(json(&Changes { changes, warnings, root })))
}

fn change(tree: &Tree, name: String) -> Result<Change, FileError> {
    let counts = tree.task_counts(&name)?;
    let nested = tree.nested(&name)?;
    let modified_ms = newest_mtime_ms(&tree.change(&name))?;
    let status = match (counts.completed, counts.total) {
        (_, 0) => "no-tasks",
        (done, all) if done == all => "complete",
        _ => "in-progress",
    };
    Ok(Change {
        name,
        completed_tasks: counts.completed,
        total_tasks: counts.total,
        last_modified: iso_ms(modified_ms),
        status,
        warning: nested.as_ref().map(|n| n.message()),
        nested: nested.map(|n| n.changes),
        modified_ms,
    })
}

fn warning(change: &Change) -> Option<Warning> {
    Some(Warning {
        code: "nested_change_directory",
        name: change.name.clone(),
        nested: change.nested.clone()?,
        message: change.warning.clone()?,
    })
}

fn changes_text(changes: &[Change], clock: &dyn Clock) -> String {
    if changes.is_empty() {
        return "No active changes found.\n".to_owned();
    }
    let width = changes.iter().map(|c| c.name.chars().count()).max().unwrap_or_default();
    let mut out = String::from("Changes:\n");
    for change in changes {
        let status = match change.status {
            _ if change.nested.is_some() => "not a change".to_owned(),
            "no-tasks" => "No tasks".to_owned(),
            "complete" => "✓ Complete".to_owned(),
            _ => format!("{}/{} tasks", change.completed_tasks, change.total_tasks),
        };
        let when = ago(change.modified_ms, clock.now());
        out.push_str(&format!("  {:width$}     {status:12}  {when}\n", change.name));
    }
    for message in changes.iter().filter_map(|c| c.warning.as_ref()) {
        out.push_str(&format!("\nWarning: {message}\n"));
    }
    out
}

/// `just now`, minutes, hours, days; beyond 30 days the local date.
fn ago(ms: i64, now: Timestamp) -> String {
    let minutes = now.as_millisecond().saturating_sub(ms) / 60_000;
    match minutes {
        i64::MIN..1 => "just now".to_owned(),
        1..60 => format!("{minutes}m ago"),
        60..1_440 => format!("{}h ago", minutes / 60),
        1_440..44_640 => format!("{}d ago", minutes / 1_440),
        _ => Timestamp::from_millisecond(ms).map_or_else(
            |_| "unknown".to_owned(),
            |t| {
                let date = t.to_zoned(TimeZone::system()).date();
                format!("{}/{}/{}", date.month(), date.day(), date.year())
            },
        ),
    }
}

fn list_specs(tree: &Tree, as_json: bool, root: Root) -> Result<CliOutput, FileError> {
    let mut specs: Vec<Spec> = Vec::new();
    for (id, path) in tree.spec_files(&tree.specs())? {
        let text = tree.reader().read(&path)?;
        let requirement_count = ParsedSpec::parse(&text).map_or(0, |spec| spec.requirements.len());
        specs.push(Spec { id, requirement_count });
    }
    specs.sort_by(|a, b| by_name(&a.id, &b.id));
    if as_json {
        return Ok(CliOutput::ok(json(&Specs { specs, root })));
    }
    if specs.is_empty() {
        return Ok(CliOutput::ok("No specs found.\n".to_owned()));
    }
    let width = specs.iter().map(|s| s.id.chars().count()).max().unwrap_or_default();
    let rows = specs.iter().map(|s| format!("  {:width$}     requirements {}\n", s.id, s.requirement_count));
    Ok(CliOutput::ok(format!("Specs:\n{}", rows.collect::<String>())))
}

fn no_root(as_json: bool, specs: bool) -> CliOutput {
    #[derive(Serialize)]
    struct Answer {
        #[serde(skip_serializing_if = "Option::is_none")]
        changes: Option<[(); 0]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        specs: Option<[(); 0]>,
        root: Option<Root>,
        status: [Status; 1],
    }
    if !as_json {
        return CliOutput::failed(String::new(), error_text(NO_ROOT, Some(NO_ROOT_FIX)));
    }
    let status = Status {
        target: Some("openspec.root"),
        ..Status::error("no_openspec_root", NO_ROOT.to_owned(), Some(NO_ROOT_FIX.to_owned()))
    };
    let answer = Answer { changes: (!specs).then_some([]), specs: specs.then_some([]), root: None, status: [status] };
    CliOutput::failed(json(&answer), String::new())
}

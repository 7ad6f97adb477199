//! The report of a change, from its files' texts.

use std::io;
use std::path::Path;

use super::{Issue, Level, delta, is_valid};
use crate::delta::{Delta, Section, mentions_sections};
use crate::merge::{Input, merge};
use crate::metadata::Metadata;
use crate::tree::{FileError, Reader, Tree};

const NO_DELTAS: &str = "Change must have at least one delta. No deltas found. Ensure your change has a specs/ directory \
    with capability folders (e.g. specs/http-server/spec.md) containing .md files that use delta headers (## \
    ADDED/MODIFIED/REMOVED/RENAMED Requirements) and that each requirement includes at least one \"#### Scenario:\" block. \
    If this change intentionally modifies no specs (pure refactor, tooling, docs), set \"skip_specs: true\" in the \
    change's .openspec.yaml instead. Tip: run \"openspec change show <change-id> --json --deltas-only\" to inspect parsed \
    deltas.";

/// A delta spec of a change and what it would be merged into.
#[derive(Debug)]
pub struct DeltaFile {
    /// Capability id.
    pub capability: String,
    /// The text of the delta spec.
    pub text: String,
    /// The text of the main spec, if there is one.
    pub target: Option<String>,
    /// Where the main spec lies, as messages print it.
    pub target_path: String,
    /// Why the main spec could not be read, in the CLI's words; archiving says so when it comes to it.
    pub target_error: Option<String>,
}

/// What a change consists of, as far as validation reads it.
#[derive(Debug)]
pub struct ChangeFiles {
    /// The change's name.
    pub name: String,
    /// `specs/**/spec.md`, sorted by capability.
    pub deltas: Vec<DeltaFile>,
    /// Whether `specs/spec.md` exists, where nothing reads it.
    pub root_spec: bool,
    /// Whether there is any file below `specs/`, whatever it is.
    pub has_spec_files: bool,
    /// Other markdown files below `specs/`: path below it and text.
    pub others: Vec<(String, String)>,
    /// `.openspec.yaml`.
    pub metadata: Metadata,
}

impl ChangeFiles {
    /// Whether archiving checks the deltas at all: a change without any passes although validation rejects it.
    pub fn archive_checks_deltas(&self) -> bool {
        let marked = self.metadata.skip_specs_error.is_some() || (self.metadata.skip_specs && self.has_spec_files);
        self.root_spec || marked || self.unread().next().is_some() || self.has_sections()
    }

    fn has_sections(&self) -> bool {
        self.deltas.iter().any(|file| mentions_sections(&file.text))
    }

    fn unread(&self) -> impl Iterator<Item = &(String, String)> {
        self.others.iter().filter(|(_, text)| !Delta::parse(text).sections.is_empty())
    }
}

/// Checks a change, its place beside the main specs included; the issues in the CLI's order.
pub fn change(files: &ChangeFiles) -> Vec<Issue> {
    report(files, true)
}

/// The same without a look at the main specs: archiving merges afterwards and says then what does not fit.
pub(crate) fn deltas_alone(files: &ChangeFiles) -> Vec<Issue> {
    report(files, false)
}

fn report(files: &ChangeFiles, beside_main: bool) -> Vec<Issue> {
    let mut issues = Vec::new();
    let mut late = Vec::new();
    let mut refusals = Vec::new();
    let mut parsed = 0;
    if files.root_spec {
        let message = "Delta spec found at specs/spec.md. Delta specs must live under a capability path (e.g. \
            specs/<capability-path>/spec.md) — a file at the specs/ root is ignored when the change is applied or archived.";
        issues.push(Issue::new(Level::Error, "spec.md", message));
    }
    let (mut empty, mut without) = (Vec::new(), Vec::new());
    for file in &files.deltas {
        let path = format!("{}/spec.md", file.capability);
        let read = Delta::parse(&file.text);
        let found = delta::delta(&path, &read, file.target.as_deref().filter(|_| beside_main));
        let fine = is_valid(&found);
        issues.extend(found);
        if !read.is_empty() {
            parsed += 1;
        } else if read.sections.is_empty() {
            without.push(Issue::new(Level::Error, &path, NO_SECTIONS));
        } else {
            empty.push(Issue::new(Level::Error, &path, empty_sections(&read.sections)));
        }
        if beside_main && fine && !read.is_empty() {
            let (capability, change) = (file.capability.as_str(), files.name.as_str());
            let input = Input { capability, change, target: file.target.as_deref(), target_path: &file.target_path };
            if let Err(refused) = merge(input, &read) {
                let message = format!("Archive would refuse this delta: {refused}");
                refusals.push(Issue::new(Level::Info, &path, message));
            }
        }
    }
    issues.extend(refusals);
    for (path, _) in files.unread() {
        late.push(Issue::new(Level::Error, path, misplaced(path)));
    }
    late.extend(empty);
    late.extend(without);
    if let Some(why) = &files.metadata.skip_specs_error {
        let message = format!(
            "skip_specs is set but .openspec.yaml is not valid change metadata, so the marker is not honored. Fix the \
             metadata ({why})"
        );
        late.push(Issue::new(Level::Error, ".openspec.yaml", message));
    }
    let skip = files.metadata.skip_specs;
    if skip && files.has_spec_files {
        let message = "skip_specs is set in .openspec.yaml but spec files exist under specs/. Remove skip_specs or delete \
            the delta spec files";
        late.push(Issue::new(Level::Error, "file", message));
    } else if parsed == 0 && !files.root_spec && files.unread().next().is_none() {
        late.push(if skip {
            let message = "skip_specs is set in .openspec.yaml: change declares no spec-level behavior changes, zero \
                deltas accepted";
            Issue::new(Level::Info, "file", message)
        } else {
            Issue::new(Level::Error, "file", NO_DELTAS)
        });
    }
    issues.extend(late);
    issues
}

const NO_SECTIONS: &str = "No delta sections found. Add headers such as \"## ADDED Requirements\" or move non-delta notes \
    outside specs/.";

fn empty_sections(sections: &[Section]) -> String {
    let names: Vec<String> = sections.iter().map(|s| format!("## {} Requirements", s.word())).collect();
    let list = match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    };
    format!(
        "Delta sections {list} were found, but no requirement entries parsed. Ensure each section includes at least one \
         \"### Requirement:\" block (REMOVED may use bullet list syntax)."
    )
}

fn misplaced(path: &str) -> String {
    let folder = path.rsplit_once('/').map_or_else(|| path.trim_end_matches(".md"), |(folder, _)| folder);
    format!(
        "Delta spec found at specs/{path}. Delta specs must be a spec.md inside a capability folder — this file is ignored \
         when the change is applied or archived. Move its requirements into specs/{folder}/spec.md."
    )
}

/// Reads and checks the change `name` of the tree below `root`, as the CLI reads files.
pub fn change_in(root: &Path, name: &str) -> io::Result<Vec<Issue>> {
    let files = Tree::new(root, Reader::cli()).change_files(name);
    files.map(|files| change(&files)).map_err(|error| match error {
        FileError::Io(error) => error,
        other => io::Error::other(other.to_string()),
    })
}

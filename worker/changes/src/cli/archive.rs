//! `archive`: merge a change into the main specs and move it away.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::args::{Args, Known};
use super::{CliOutput, Root, Status, error_text, json, tree};
use crate::archive::{Commit, Failure, SpecUpdate, check_deltas, destination, locate, merge_all, vet};
use crate::clock::Clock;
use crate::merge::Counts;
use crate::text::iso_ms;
use crate::tree::{PATIENCE, TASKS, Tree, Turn};

const USAGE: &str = "Usage: openspec archive [options] [change-name]\n\nArchive a completed change and update main \
    specs\n\nOptions:\n  -y, --yes      Skip confirmation prompts\n  --skip-specs   Skip spec update operations\n  \
    --no-validate  Skip validation (not recommended, requires confirmation)\n  --json         Output as JSON \
    (non-interactive)\n";

pub(super) fn run(argv: &[String], cwd: &Path, clock: &dyn Clock) -> CliOutput {
    let flag = |names: &'static [&'static str]| Known { names, takes_value: false };
    let known = [flag(&["--yes", "-y"]), flag(&["--json"]), flag(&["--skip-specs"]), flag(&["--no-validate"])];
    let args = match Args::parse("archive", USAGE, &known, 1, argv) {
        Ok(args) => args,
        Err(output) => return output,
    };
    let (tree, root) = tree(cwd);
    let mut run = Run {
        tree: &tree,
        clock,
        name: args.positional.first().map(String::as_str).unwrap_or_default(),
        yes: args.has("--yes"),
        json: args.has("--json"),
        skip_specs: args.has("--skip-specs"),
        validate: !args.has("--no-validate"),
        said: String::new(),
        warnings: Vec::new(),
    };
    let done = run.run();
    let Run { json, said, .. } = run;
    match done {
        Ok(None) => CliOutput::ok(said),
        Ok(Some(_)) if !json => CliOutput::ok(said),
        Ok(Some(archive)) => CliOutput::ok(super::json(&Success { archive, root })),
        Err(failure) if json => CliOutput::failed(refusal(failure, root), String::new()),
        Err(failure) => match failure.more.report {
            Some(report) => CliOutput::failed(said + &report, String::new()),
            None => CliOutput::failed(said, error_text(&failure.message, failure.fix.as_deref())),
        },
    }
}

#[derive(Serialize)]
struct Success {
    archive: Archived,
    root: Root,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Archived {
    change: String,
    archived_as: String,
    path: String,
    specs_updated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<Totals>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Totals {
    added: usize,
    modified: usize,
    removed: usize,
    renamed: usize,
}

#[derive(Serialize)]
struct Refusal {
    archive: Option<Archived>,
    root: Root,
    status: [Status; 1],
}

fn refusal(failure: Failure, root: Root) -> String {
    let status = Status::error(failure.code, failure.message, failure.fix);
    json(&Refusal { archive: None, root, status: [status] })
}

/// One call: its arguments, and what it has said so far.
struct Run<'a> {
    tree: &'a Tree,
    clock: &'a dyn Clock,
    name: &'a str,
    yes: bool,
    json: bool,
    skip_specs: bool,
    validate: bool,
    said: String,
    warnings: Vec<String>,
}

impl Run<'_> {
    fn say(&mut self, line: impl AsRef<str>) {
        self.said.push_str(line.as_ref());
        self.said.push('\n');
    }

    fn run(&mut self) -> Result<Option<Archived>, Failure> {
        if self.name.is_empty() {
            return self.nameless();
        }
        locate(self.tree, self.name)?;
        let _turn = self.turn()?;
        let files = self.tree.change_files(self.name)?;
        if self.validate {
            check_deltas(&files)?;
        } else {
            self.confirm_unchecked()?;
        }
        self.report_tasks()?;
        let archived = destination(self.tree, self.name, self.clock.today())?;
        let mut updates = Vec::new();
        let mut totals = None;
        if self.skip_specs {
            self.say("Skipping spec updates (--skip-specs flag provided).");
        } else if !files.deltas.is_empty() {
            for file in &files.deltas {
                let spec = self.tree.specs().join(&file.capability).join("spec.md");
                let mut within = spec.ancestors().take_while(|path| **path != self.tree.specs());
                within.try_for_each(no_dangling_link)?;
            }
            self.say("\nSpecs to update:");
            for file in &files.deltas {
                let verb = if file.target.is_some() { "update" } else { "create" };
                self.say(format!("  {}: {verb}", file.capability));
            }
            self.confirm_specs(files.deltas.len())?;
            updates = merge_all(self.tree, &files)?;
            for warning in updates.iter().flat_map(|u| u.merged.warnings.clone()) {
                self.say(format!("⚠️  Warning: {warning}"));
                self.warnings.push(warning);
            }
            if self.validate {
                vet(&mut updates, &files.metadata)?;
            }
            totals = Some(self.report_updates(&updates));
        }
        let nonce = uuid::Uuid::now_v7().to_string();
        let (tree, name) = (self.tree, self.name);
        Commit { tree, name, archived: &archived, updates: &updates, receipt: None, nonce: &nonce }.run()?;
        self.say(format!("Change '{}' archived as '{archived}'.", self.name));
        Ok(Some(Archived {
            change: self.name.to_owned(),
            path: self.tree.archive().join(&archived).to_string_lossy().into_owned(),
            archived_as: archived,
            specs_updated: updates.iter().any(SpecUpdate::changes_file),
            totals,
            warnings: std::mem::take(&mut self.warnings),
        }))
    }

    /// Waits for our tools and commands. Where the file system has no such locks it goes on as the CLI does, without.
    fn turn(&self) -> Result<Option<Turn>, Failure> {
        match self.tree.turn(PATIENCE) {
            Ok(turn) => Ok(Some(turn)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let message = format!("Another writer holds {}.", self.tree.openspec().display());
                Err(Failure::new("archive_error", message).with_fix("Rerun when it is done. No files were changed."))
            }
            Err(error) => {
                tracing::debug!(%error, "The tree cannot be locked; this archive does not wait for others.");
                Ok(None)
            }
        }
    }

    /// Without a terminal there is no list to choose from.
    fn nameless(&mut self) -> Result<Option<Archived>, Failure> {
        const CODE: &str = "archive_change_name_required";
        if self.json {
            let message = "A change name is required: archive --json is non-interactive.";
            return Err(Failure::new(CODE, message).with_fix("openspec archive <change-name> --json"));
        }
        if self.tree.change_names()?.is_empty() {
            self.say("No active changes found.\nNo change selected. Aborting.");
            return Ok(None);
        }
        let message = "A change name is required: no terminal is available to choose one from a list.";
        Err(Failure::new(CODE, message).with_fix("openspec archive <change-name> --yes"))
    }

    fn confirm_unchecked(&mut self) -> Result<(), Failure> {
        const CODE: &str = "archive_confirmation_required";
        if self.yes {
            let (now, name) = (iso_ms(self.clock.now().as_millisecond()), self.name);
            let path = self.tree.change(name);
            self.say("\n⚠️  WARNING: Skipping validation may archive invalid specs.");
            self.say(format!("[{now}] Validation skipped for change: {name}\nAffected files: {}", path.display()));
            return Ok(());
        }
        if self.json {
            let message = "Skipping validation requires confirmation: rerun with --yes.";
            return Err(
                Failure::new(CODE, message).with_fix("openspec archive <change-name> --json --no-validate --yes")
            );
        }
        self.said.push_str("⚠️  WARNING: Skipping validation may archive invalid specs. Continue? (y/N) (y/N) ");
        let message = "Skipping validation requires confirmation, and no answer could be read from stdin.";
        Err(Failure::new(CODE, message).with_fix(self.rerun("--no-validate --yes")))
    }

    /// The command to try again, so that a shell takes the name for one word; a name no quotes protect is left out.
    fn rerun(&self, options: &str) -> String {
        let name = self.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.contains(['"', '`', '$', '!', '%', '\\']) {
            format!("openspec archive <change-name> {options}")
        } else if !name.chars().all(plain) {
            format!("openspec archive \"{name}\" {options}")
        } else if name.starts_with('-') {
            format!("openspec archive {options} -- {name}")
        } else {
            format!("openspec archive {name} {options}")
        }
    }

    fn report_tasks(&mut self) -> Result<(), Failure> {
        no_dangling_link(&self.tree.change(self.name).join(TASKS))?;
        let counts = self.tree.task_counts(self.name)?;
        let open = counts.total - counts.completed;
        self.say(match counts.total {
            0 => "Task status: No tasks".to_owned(),
            _ if open == 0 => "Task status: ✓ Complete".to_owned(),
            total => format!("Task status: {}/{total} tasks", counts.completed),
        });
        if open == 0 {
            return Ok(());
        }
        if self.yes {
            self.say(format!("Warning: {open} incomplete task(s) found. Continuing due to --yes flag."));
            return Ok(());
        }
        const CODE: &str = "archive_tasks_incomplete";
        let found = format!("{open} incomplete task(s) found for change '{}'", self.name);
        if self.json {
            return Err(Failure::new(CODE, format!("{found}.")).with_fix("Complete the tasks or rerun with --yes."));
        }
        self.said.push_str(&format!("Warning: {open} incomplete task(s) found. Continue? (y/N) "));
        let message = format!("{found}, and no answer could be read from stdin.");
        Err(Failure::new(CODE, message).with_fix(format!("Complete the tasks or rerun with {}", self.rerun("--yes"))))
    }

    fn confirm_specs(&mut self, count: usize) -> Result<(), Failure> {
        const CODE: &str = "archive_confirmation_required";
        if self.yes {
            return Ok(());
        }
        let what = format!("Updating {count} spec(s) requires confirmation");
        if self.json {
            let message = format!("{what}: rerun with --yes.");
            return Err(Failure::new(CODE, message).with_fix("openspec archive <change-name> --json --yes"));
        }
        self.said.push_str("Proceed with spec updates? (Y/n) ");
        let message = format!("{what}, and no answer could be read from stdin.");
        Err(Failure::new(CODE, message).with_fix(self.rerun("--yes")))
    }

    fn report_updates(&mut self, updates: &[SpecUpdate]) -> Totals {
        let mut total = Counts::default();
        for update in updates.iter().filter(|update| update.changes_file()) {
            let (path, counts) = (&update.relative, update.merged.counts);
            total = total.plus(counts);
            if update.retire {
                let restore = format!("If it was committed, restore it with: git checkout HEAD -- \":(top){path}\"");
                self.say(format!("Retiring {path}: all requirements removed.\n   {restore}"));
                self.warnings.push(format!(
                    "{} - capability retired; deleted the main spec (all requirements removed, declared by \
                     retire_capabilities) at {path}. Its section(s) went with it: Purpose. {restore}",
                    update.capability
                ));
                continue;
            }
            self.say(format!("Applying changes to {path}:"));
            let rows = [
                ("+", counts.added, "added"),
                ("~", counts.modified, "modified"),
                ("-", counts.removed, "removed"),
                ("→", counts.renamed, "renamed"),
            ];
            for (sign, n, word) in rows.into_iter().filter(|(_, n, _)| *n > 0) {
                self.say(format!("  {sign} {n} {word}"));
            }
        }
        let Counts { added, modified, removed, renamed } = total;
        self.say(format!("Totals: + {added}, ~ {modified}, - {removed}, → {renamed}"));
        let changed = updates.iter().any(SpecUpdate::changes_file);
        let end = if changed { "Specs updated successfully." } else { "Specs already in sync; no files changed." };
        self.say(end);
        Totals { added, modified, removed, renamed }
    }
}

/// Refuses a link that leads nowhere: what it would lead to cannot be checked.
fn no_dangling_link(path: &Path) -> Result<(), Failure> {
    if path.is_symlink() && !path.exists() {
        let message = format!("Cannot verify dangling symbolic link: {}", path.display());
        return Err(Failure::new("archive_error", message));
    }
    Ok(())
}

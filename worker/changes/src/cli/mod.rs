//! `openspec` without Node: same arguments, output, exit codes and files as the OpenSpec CLI 1.13.2, for the commands
//! that are here. No receipt is written and no file of ours is made;
//! an archive waits for the tools at work in the tree.

mod archive;
mod args;
mod list;
mod order;

use std::path::Path;

use serde::Serialize;

use crate::clock::Clock;
use crate::tree::{Reader, Tree};

/// Bad usage of a command that is not the CLI's own affair (`EX_USAGE`, sysexits.h).
const EXIT_USAGE: i32 = 64;

/// What a command leaves behind besides files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CliOutput {
    /// 0, 1 as the CLI; 64 for a command that does not exist here.
    pub exit_code: i32,
    /// For standard output.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
}

/// Runs one command. `argv` starts with the command's name; `cwd` is absolute. Nothing is asked: where the CLI would
/// ask, this answers as the CLI does without a terminal.
pub fn run(argv: &[String], cwd: &Path, clock: &dyn Clock) -> CliOutput {
    match argv.split_first() {
        Some((command, rest)) if command == "list" => list::run(rest, cwd, clock),
        Some((command, rest)) if command == "archive" => archive::run(rest, cwd, clock),
        Some((command, _)) => {
            let error = format!("error: '{command}' is not supported here yet. Supported: list, archive.\n");
            CliOutput { exit_code: EXIT_USAGE, stderr: error, ..CliOutput::default() }
        }
        None => {
            let error = "error: a command is required. Supported: list, archive.\n".to_owned();
            CliOutput { exit_code: EXIT_USAGE, stderr: error, ..CliOutput::default() }
        }
    }
}

/// `root` in JSON answers.
#[derive(Serialize)]
struct Root {
    path: String,
    source: &'static str,
}

/// One entry of `status` in JSON answers.
#[derive(Serialize)]
struct Status {
    severity: &'static str,
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl CliOutput {
    fn ok(stdout: String) -> Self {
        Self { stdout, ..Self::default() }
    }

    fn failed(stdout: String, stderr: String) -> Self {
        Self { exit_code: 1, stdout, stderr }
    }
}

impl Status {
    fn error(code: &'static str, message: String, fix: Option<String>) -> Self {
        Self { severity: "error", code, message, target: None, fix }
    }
}

/// The tree and how it was found: the nearest one, else the working directory.
fn tree(cwd: &Path) -> (Tree, Root) {
    let root = |tree: &Tree, source| Root { path: tree.root().to_string_lossy().into_owned(), source };
    match Tree::nearest(cwd) {
        Some(tree) => {
            let root = root(&tree, "nearest");
            (tree, root)
        }
        None => {
            let tree = Tree::new(cwd, Reader::cli());
            let root = root(&tree, "implicit");
            (tree, root)
        }
    }
}

/// One JSON document with a newline at its end.
fn json(answer: &impl Serialize) -> String {
    match serde_json::to_string_pretty(answer) {
        Ok(text) => text + "\n",
        Err(error) => format!("{{\"error\": {:?}}}\n", error.to_string()),
    }
}

/// `✖ Error: …` with the remedy below it.
fn error_text(message: &str, fix: Option<&str>) -> String {
    let fix = fix.map(|fix| format!("Fix: {fix}\n")).unwrap_or_default();
    format!("✖ Error: {message}\n{fix}")
}

//! Why an archive was refused.

use std::io;
use std::path::{Path, PathBuf};

use crate::tree::FileError;
use crate::validate::{Issue, Level};

/// A refusal in the CLI's terms: a code, a message and perhaps a remedy.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) fix: Option<String>,
    pub(crate) more: Box<More>,
}

/// What not every refusal has.
#[derive(Debug, Default)]
pub(crate) struct More {
    /// What the CLI prints to standard output instead of the message, without `--json`.
    pub(crate) report: Option<String>,
    /// The findings behind it, for the tools.
    pub(crate) issues: Vec<Issue>,
    /// Somebody else is at work; later it may succeed.
    pub(crate) busy: Option<Busy>,
    /// Files written before the failure could not all be put back.
    pub(crate) torn: bool,
    /// The path that leaves the tree.
    pub(crate) outside: Option<PathBuf>,
    /// The file error behind it; its text may name absolute paths.
    pub(crate) source: Option<FileError>,
}

/// Who is at work.
#[derive(Debug)]
pub(crate) enum Busy {
    /// Another archive holds the CLI's lock.
    Claimed,
    /// Somebody wrote this main spec between the merge and its writing.
    Changed(PathBuf),
}

impl Failure {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fix: None, more: Box::default() }
    }

    pub(crate) fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Another archive holds the lock.
    pub(super) fn claimed(mut self) -> Self {
        self.more.busy = Some(Busy::Claimed);
        self
    }

    /// A main spec is no longer what was merged into: writing it would lose somebody's work.
    pub(super) fn changed(capability: &str, path: &Path) -> Self {
        let mut failure = Self::update(format!("{capability}: the main spec changed while it was merged."));
        failure.fix = Some("Rerun. No files were changed.".to_owned());
        failure.more.busy = Some(Busy::Changed(path.to_owned()));
        failure
    }

    /// A path leaves the tree.
    pub(super) fn outside(path: &Path) -> Self {
        let message = format!("Refusing to archive through a path outside the OpenSpec root: {}", path.display());
        let mut failure = Self::new("archive_path_outside_root", message);
        failure.more.outside = Some(path.to_owned());
        failure
    }

    fn with_report(mut self, report: String, issues: Vec<Issue>) -> Self {
        self.more.report = Some(report);
        self.more.issues = issues;
        self
    }

    fn with_source(mut self, source: FileError) -> Self {
        self.more.source = Some(source);
        self
    }

    /// The delta specs of a change do not pass.
    pub(super) fn validation(name: &str, issues: Vec<Issue>) -> Self {
        let report = format!(
            "\nValidation errors in change delta specs:\n{}\nValidation failed. Please fix the errors before archiving.\n\
             To skip validation (not recommended), use --no-validate flag.\n",
            marked(&issues)
        );
        let fix = format!("Run openspec validate {name} for details, fix the errors, or rerun with --no-validate.");
        Self::new("archive_validation_failed", format!("Validation failed for change '{name}'."))
            .with_fix(fix)
            .with_report(report, issues)
    }

    /// A delta cannot be merged.
    pub(super) fn update(message: String) -> Self {
        let report = format!("{message}\nAborted. No files were changed.\n");
        Self::new("archive_spec_update_failed", message)
            .with_fix("Fix the change delta specs and rerun. No files were changed.")
            .with_report(report, Vec::new())
    }

    /// A rebuilt spec does not pass. `hint` is about retiring the capability.
    pub(super) fn rebuilt(capability: &str, issues: Vec<Issue>, hint: Option<String>) -> Self {
        let arrow = hint.as_ref().map(|hint| format!("  → {hint}\n")).unwrap_or_default();
        let report = format!(
            "\nValidation errors in rebuilt spec for {capability} (will not write changes):\n{}{arrow}Aborted. No files \
             were changed.\n",
            marked(&issues)
        );
        let fix = hint.unwrap_or_else(|| format!("Run openspec validate {capability} after fixing the change deltas."));
        let message = format!("Rebuilt spec for '{capability}' failed validation. No files were changed.");
        Self::new("archive_spec_validation_failed", message).with_fix(fix).with_report(report, issues)
    }

    /// A failed system call, worded as Node words it.
    pub(super) fn system(error: io::Error, call: &str) -> Self {
        let message = format!("{}, {call}", node_words(&error));
        Self::new("archive_error", message).with_source(FileError::Io(error))
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let message = match &error {
            FileError::Io(error) => node_words(error),
            other => other.to_string(),
        };
        Self::new("archive_error", message).with_source(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        FileError::Io(error).into()
    }
}

/// The findings as the CLI lists them; INFO is left out.
fn marked(issues: &[Issue]) -> String {
    let line = |issue: &Issue| match issue.level {
        Level::Error => Some(format!("  ✗ {}\n", issue.message)),
        Level::Warning => Some(format!("  ⚠ {}\n", issue.message)),
        Level::Info => None,
    };
    issues.iter().filter_map(line).collect()
}

/// A system error as Node words it.
pub(crate) fn node_words(error: &io::Error) -> String {
    match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(nix::errno::Errno::EISDIR) => "EISDIR: illegal operation on a directory, read".to_owned(),
        Some(errno) => format!("{errno:?}: {}", errno.desc().to_lowercase()),
        None => error.to_string(),
    }
}

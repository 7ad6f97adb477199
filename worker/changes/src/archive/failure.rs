//! Why an archive was refused.

use std::io;

use crate::tree::FileError;
use crate::validate::{Issue, Level};

/// A refusal in the CLI's terms: a code, a message and perhaps a remedy.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) fix: Option<String>,
    /// What the CLI prints to standard output instead of the message, without `--json`.
    pub(crate) report: Option<String>,
    /// The findings behind it, for the tools.
    pub(crate) issues: Vec<Issue>,
    /// The file error behind it; its text may name absolute paths.
    pub(crate) source: Option<FileError>,
}

impl Failure {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fix: None, report: None, issues: Vec::new(), source: None }
    }

    pub(crate) fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// The delta specs of a change do not pass.
    pub(super) fn validation(name: &str, issues: Vec<Issue>) -> Self {
        let report = format!(
            "\nValidation errors in change delta specs:\n{}Validation failed. Please fix the errors before archiving.\n\
             To skip validation (not recommended), use --no-validate flag.\n",
            marked(&issues)
        );
        Self {
            code: "archive_validation_failed",
            message: format!("Validation failed for change '{name}'."),
            fix: Some(format!(
                "Run openspec validate {name} for details, fix the errors, or rerun with --no-validate."
            )),
            report: Some(report),
            issues,
            source: None,
        }
    }

    /// A delta cannot be merged.
    pub(super) fn update(message: String) -> Self {
        Self {
            report: Some(format!("{message}\nAborted. No files were changed.\n")),
            ..Self::new("archive_spec_update_failed", message)
                .with_fix("Fix the change delta specs and rerun. No files were changed.")
        }
    }

    /// A rebuilt spec does not pass. `hint` is about retiring the capability.
    pub(super) fn rebuilt(capability: &str, issues: Vec<Issue>, hint: Option<String>) -> Self {
        let arrow = hint.as_ref().map(|hint| format!("  → {hint}\n")).unwrap_or_default();
        let report = format!(
            "\nValidation errors in rebuilt spec for {capability} (will not write changes):\n{}{arrow}Aborted. No files \
             were changed.\n",
            marked_tight(&issues)
        );
        let fix = hint.unwrap_or_else(|| format!("Run openspec validate {capability} after fixing the change deltas."));
        Self {
            code: "archive_spec_validation_failed",
            message: format!("Rebuilt spec for '{capability}' failed validation. No files were changed."),
            fix: Some(fix),
            report: Some(report),
            issues,
            source: None,
        }
    }

    /// A failed system call, worded as Node words it.
    pub(super) fn system(error: io::Error, call: &str) -> Self {
        let message = format!("{}, {call}", node_words(&error));
        Self { source: Some(FileError::Io(error)), ..Self::new("archive_error", message) }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self { source: Some(error), ..Self::new("archive_error", String::new()) }.named()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        FileError::Io(error).into()
    }
}

impl Failure {
    fn named(mut self) -> Self {
        self.message = match &self.source {
            Some(FileError::Io(error)) => node_words(error),
            Some(error) => error.to_string(),
            None => String::new(),
        };
        self
    }
}

fn marked_tight(issues: &[Issue]) -> String {
    let line = |issue: &Issue| match issue.level {
        Level::Error => Some(format!("  ✗ {}\n", issue.message)),
        Level::Warning => Some(format!("  ⚠ {}\n", issue.message)),
        Level::Info => None,
    };
    issues.iter().filter_map(line).collect()
}

fn marked(issues: &[Issue]) -> String {
    marked_tight(issues) + "\n"
}

fn node_words(error: &io::Error) -> String {
    match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(errno) => format!("{errno:?}: {}", errno.desc().to_lowercase()),
        None => error.to_string(),
    }
}

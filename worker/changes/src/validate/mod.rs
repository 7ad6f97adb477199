//! The checks of `openspec validate` that archiving relies on, as data.

mod body;
mod change;
mod delta;
mod spec;

pub(crate) use change::deltas_alone;
pub use change::{ChangeFiles, DeltaFile, change, change_in};
pub use spec::{NO_REQUIREMENTS, spec};

/// How bad an issue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Makes the item invalid.
    Error,
    /// Makes it invalid under `--strict`.
    Warning,
    /// Never does.
    Info,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// How bad it is.
    pub level: Level,
    /// The file below `specs/`, or the place in a spec.
    pub path: String,
    /// Line from 1, where one is known.
    pub line: Option<usize>,
    /// The CLI's words.
    pub message: String,
}

impl Level {
    /// The word in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Info => "INFO",
        }
    }
}

impl Issue {
    fn new(level: Level, path: &str, message: impl Into<String>) -> Self {
        Self { level, path: path.to_owned(), line: None, message: message.into() }
    }

    fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

/// Whether no issue is an error.
pub fn is_valid(issues: &[Issue]) -> bool {
    issues.iter().all(|issue| issue.level != Level::Error)
}

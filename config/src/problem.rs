//! What is wrong with the settings, for people to read.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

/// Why settings could not be used. What the system or a parser said is the source alone: print the chain to see it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The settings file that was named, or found, could not be read.
    #[error(
        "correct the path or the permissions of the settings file {} ({named_by}), or name another with --config; it cannot be read",
        shown(path)
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Who named it: `--config`, `TASK_MCP_CONFIG` or the search path.
        named_by: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The settings are wrong; every problem is listed.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
    /// The shipped defaults do not fit the typed settings: a bug in this build.
    #[error("please report this build; its built-in defaults are broken")]
    Defaults(#[source] Box<figment::Error>),
    /// The working directory could not be determined.
    #[error("start in a directory that exists; the working directory cannot be determined")]
    WorkingDirectory(#[source] std::io::Error),
    /// A snapshot could not be written or read.
    #[error("supervisor and worker must be the same build; the snapshot of the settings cannot be converted")]
    Snapshot(#[source] serde_json::Error),
}

/// One finding: an error inside [`ConfigError::Invalid`], a warning inside [`Loaded`](crate::Loaded).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, dotted; empty if the finding is about the whole source.
    pub key: String,
    /// Where the value came from.
    pub origin: Origin,
    /// What is wrong.
    pub what: String,
    /// What would be allowed, if that can be said in general.
    pub limit: Option<String>,
    /// What to do about it.
    pub remedy: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.origin, self.what)?;
        } else {
            write!(f, "{} ({}): {}", self.key, self.origin, self.what)?;
        }
        if let Some(limit) = &self.limit {
            write!(f, "; {limit}")?;
        }
        write!(f, "; {}", self.remedy)
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `default.toml`.
    Default,
    /// A line of a settings file, counted from 1.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// `--set`.
    Set,
    /// `--root`.
    Root,
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}, line {line}", shown(path)),
            Self::Environment(name) => write!(f, "environment variable {}", name.escape_debug()),
            Self::Set => f.write_str("--set"),
            Self::Root => f.write_str("--root"),
        }
    }
}

/// What is wrong with one value, before it is known where the value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) what: String,
    pub(crate) limit: Option<String>,
    pub(crate) remedy: String,
}

impl Flaw {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), limit: None, remedy: remedy.into() }
    }

    pub(crate) fn limit(mut self, limit: impl Into<String>) -> Self {
        self.limit = Some(limit.into());
        self
    }

    pub(crate) fn at(self, key: impl Into<String>, origin: Origin) -> Problem {
        Problem { key: key.into(), origin, what: self.what, limit: self.limit, remedy: self.remedy }
    }
}

/// Text for a message: without control characters, cut at 60 characters.
pub(crate) fn clip(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.escape_debug().to_string()
}

/// A path for a message, in full, without control characters.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

/// A value for a message, clipped and in quotes.
pub(crate) fn quote(text: &str) -> String {
    format!("\"{}\"", clip(text))
}

/// Longer lists help nobody; a binary file given by mistake could make thousands.
pub(crate) const PROBLEMS_SHOWN: usize = 50;

fn list(problems: &[Problem]) -> String {
    let mut text = match problems.len() {
        1 => "1 problem in the settings:".to_owned(),
        n => format!("{n} problems in the settings:"),
    };
    for problem in problems.iter().take(PROBLEMS_SHOWN) {
        text.push_str(&format!("\n  {problem}"));
    }
    if let Some(more) = problems.len().checked_sub(PROBLEMS_SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(key: &str) -> Problem {
        Flaw::new("unknown key", "did you mean server.workers?")
            .at(key, Origin::File { path: "task-mcp.toml".into(), line: 4 })
    }

    #[test]
    fn the_list_reads_as_a_list() {
        let error = ConfigError::Invalid(vec![problem("server.workerz"), problem("")]);
        assert_eq!(
            error.to_string(),
            "2 problems in the settings:\n  server.workerz (task-mcp.toml, line 4): unknown key; did you mean server.workers?\n  \
             task-mcp.toml, line 4: unknown key; did you mean server.workers?"
        );
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let text = ConfigError::Invalid(vec![problem("a.b"); 60]).to_string();
        assert!(text.starts_with("60 problems") && text.ends_with("and 10 more"));
        assert_eq!(text.lines().count(), 52);
    }

    #[test]
    fn a_cause_is_said_by_the_source_alone() {
        let cause = || std::io::Error::other("the cause");
        let json = serde_json::from_str::<u8>("x").map_err(ConfigError::Snapshot);
        let errors = [
            ConfigError::Read { path: "t".into(), named_by: "named by --config", source: cause() },
            ConfigError::WorkingDirectory(cause()),
            ConfigError::Defaults(Box::new("the cause".to_owned().into())),
            json.map_or_else(|error| error, |_| ConfigError::Invalid(Vec::new())),
        ];
        for error in errors {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert!(!source.is_empty() && !error.to_string().contains(&source), "{error}: {source}");
        }
    }

    #[test]
    fn a_quoted_value_is_short_and_on_one_line() {
        assert_eq!(quote("a\nb\u{1b}"), "\"a\\nb\\u{1b}\"");
        assert!(quote(&"x".repeat(1000)).chars().count() < 70);
    }
}

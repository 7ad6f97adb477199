//! What goes wrong in a store, with the code, the remedy and the details a caller gets.

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

/// An error of a [`Store`](crate::Store). `Display` is the outward message: it names the field, the limit or the change,
/// and never an absolute path.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// The root holds no `openspec/`.
    #[error("the store's root holds no openspec/ folder")]
    NoTree,
    /// A slug breaks a rule.
    #[error("slug {slug:?}: {rule}")]
    BadSlug {
        /// What was given, cut to 80 characters.
        slug: String,
        /// The rule.
        rule: &'static str,
    },
    /// An argument is out of bounds.
    #[error("{field}: {limit}")]
    BadInput {
        /// The argument.
        field: &'static str,
        /// What it has to be.
        limit: String,
    },
    /// A page token cannot be read.
    #[error("pageToken: this is no token of changes.active")]
    BadToken,
    /// There is no such change, active or archived.
    #[error("there is no change {slug:?}")]
    NoChange {
        /// The slug asked for.
        slug: String,
        /// The nearest active slugs, at most five.
        near: Vec<String>,
    },
    /// The change was archived.
    #[error("change {slug:?} was archived as {archived_as:?}")]
    Archived {
        /// The slug asked for.
        slug: String,
        /// The folder below `changes/archive/`.
        archived_as: String,
    },
    /// The change, or the tree, has no such document.
    #[error("{path} does not exist")]
    NoDocument {
        /// Relative to the root.
        path: String,
    },
    /// Somebody else holds the change's lock.
    #[error("change {slug:?} is locked by {owner:?} until {expires_at}")]
    Locked {
        /// The change.
        slug: String,
        /// The principal that holds it.
        owner: String,
        /// Since when, RFC 3339.
        since: String,
        /// Its life in seconds.
        ttl: u64,
        /// When it ends, RFC 3339.
        expires_at: String,
    },
    /// The change has open tasks.
    #[error("change {slug:?} has {open} open task(s) of {total}")]
    OpenTasks {
        /// The change.
        slug: String,
        /// How many are open.
        open: usize,
        /// How many there are.
        total: usize,
        /// The texts of the first open ones, at most five, each cut to 80 characters.
        first: Vec<String>,
        /// Names the text of the list they are in: equal tags, equal text.
        tag: String,
    },
    /// A path would leave the tree, or is a link.
    #[error("{path} is a symbolic link or leaves the tree")]
    Escape {
        /// Relative to the root.
        path: String,
    },
    /// A document is too large.
    #[error("{path} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// Relative to the root.
        path: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// A document is no text.
    #[error("{path} is not valid UTF-8")]
    NotUtf8 {
        /// Relative to the root.
        path: String,
    },
    /// Archiving was refused with the reasons of the OpenSpec CLI.
    #[error("{message}")]
    Refused {
        /// The CLI's code.
        cli_code: &'static str,
        /// The CLI's message.
        message: String,
        /// The CLI's remedy.
        fix: Option<String>,
        /// What validation found: level and message.
        issues: Vec<(&'static str, String)>,
    },
    /// Somebody else is at work in the tree, or left something there that has to be settled first.
    #[error("{message}")]
    Busy {
        /// What is busy.
        message: String,
        /// The file it is about, relative to the root.
        path: Option<String>,
        /// What to do if trying again does not help.
        fix: Option<String>,
    },
    /// The tree has more active changes than an index may hold.
    #[error("there are {found} active changes; the index holds at most {limit}")]
    TooMany {
        /// How many folders there are.
        found: usize,
        /// The setting.
        limit: usize,
    },
    /// The tree has more documents than an index may hold.
    #[error("there are {found} documents; the index holds at most {limit}")]
    TooManyDocuments {
        /// How many there are.
        found: usize,
        /// A hundred for each change that `store.changes` allows.
        limit: usize,
    },
    /// The pool's queue is full.
    #[error("the store is busy")]
    Overloaded,
    /// A file operation failed.
    #[error("{step} failed: {}", source.kind())]
    Io {
        /// The step, in words.
        step: &'static str,
        /// The system's reason; may name absolute paths, for the log only.
        source: io::Error,
    },
    /// A job ended without an answer.
    #[error("the store failed on this call")]
    Lost,
    /// A scan several callers waited for failed.
    #[error(transparent)]
    Shared(Arc<ChangesError>),
}

impl ChangesError {
    /// Every code there is.
    pub const CODES: &'static [&'static str] = &[
        "ENOTREE",
        "EBADSLUG",
        "EBADINPUT",
        "EBADTOKEN",
        "ENOCHANGE",
        "EARCHIVED",
        "ENODOCUMENT",
        "ELOCKED",
        "EOPENTASKS",
        "EPATH_ESCAPE",
        "EBADSHAPE_SIZE_EXCEEDED",
        "EBADSHAPE_NOT_UTF8",
        "EBADSHAPE_INVALID_DELTA",
        "EBUSY",
        "ETOOMANY",
        "EIO",
        "EINTERNAL",
    ];

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoTree => "ENOTREE",
            Self::BadSlug { .. } => "EBADSLUG",
            Self::BadInput { .. } => "EBADINPUT",
            Self::BadToken => "EBADTOKEN",
            Self::NoChange { .. } => "ENOCHANGE",
            Self::Archived { .. } => "EARCHIVED",
            Self::NoDocument { .. } => "ENODOCUMENT",
            Self::Locked { .. } => "ELOCKED",
            Self::OpenTasks { .. } => "EOPENTASKS",
            Self::Escape { .. } => "EPATH_ESCAPE",
            Self::TooLarge { .. } => "EBADSHAPE_SIZE_EXCEEDED",
            Self::NotUtf8 { .. } => "EBADSHAPE_NOT_UTF8",
            Self::Refused { .. } => "EBADSHAPE_INVALID_DELTA",
            Self::Busy { .. } | Self::Overloaded => "EBUSY",
            Self::TooMany { .. } | Self::TooManyDocuments { .. } => "ETOOMANY",
            Self::Io { .. } => "EIO",
            Self::Lost => "EINTERNAL",
            Self::Shared(inner) => inner.code(),
        }
    }

    /// What the caller can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoTree => {
                "Run `openspec init` there, or point store.root at the folder that holds openspec/.".to_owned()
            }
            Self::BadSlug { .. } => crate::Slug::RULE.to_owned(),
            Self::BadToken => {
                "Pass nextPageToken of the page before as it came, or leave it out for page 1.".to_owned()
            }
            Self::NoChange { near, .. } if near.is_empty() => "List the changes with changes.active.".to_owned(),
            Self::NoChange { near, .. } => format!("Did you mean: {}?", near.join(", ")),
            Self::Archived { .. } => "Open a new change under another slug.".to_owned(),
            Self::NoDocument { .. } => "See which documents there are with change.show.".to_owned(),
            Self::Locked { .. } => "Wait until it expires, or ask its owner to archive or let go.".to_owned(),
            Self::OpenTasks { .. } => "Finish the tasks, or pass allowOpenTasks: true.".to_owned(),
            Self::Escape { .. } => "Replace the link with a real file or folder inside the tree.".to_owned(),
            Self::TooLarge { .. } => "Split the document, or raise store.document_bytes.".to_owned(),
            Self::NotUtf8 { .. } => "Save the document as UTF-8.".to_owned(),
            Self::Refused { fix, .. } => return fix.clone(),
            Self::Busy { fix: Some(fix), .. } => fix.clone(),
            Self::Busy { .. } | Self::Overloaded => "Try again in a moment.".to_owned(),
            Self::TooMany { .. } | Self::TooManyDocuments { .. } => {
                "Archive finished changes, or raise store.changes.".to_owned()
            }
            Self::Shared(inner) => return inner.hint(),
            Self::BadInput { .. } | Self::Io { .. } | Self::Lost => return None,
        })
    }

    /// The facts, for programs.
    pub fn details(&self) -> Option<Value> {
        Some(match self {
            Self::BadInput { field, .. } => json!({ "field": field }),
            Self::NoChange { slug, near } => json!({ "slug": slug, "near": near }),
            Self::Archived { slug, archived_as } => json!({ "slug": slug, "archivedAs": archived_as }),
            Self::Locked { slug, owner, since, ttl, expires_at } => {
                json!({ "slug": slug, "owner": owner, "since": since, "ttl": ttl, "expiresAt": expires_at })
            }
            Self::OpenTasks { slug, open, total, first, .. } => {
                json!({ "slug": slug, "open": open, "total": total, "tasks": first })
            }
            Self::Escape { path } | Self::NoDocument { path } => json!({ "path": path }),
            Self::Busy { path: Some(path), .. } => json!({ "path": path }),
            Self::TooLarge { path, limit_bytes } => json!({ "path": path, "limitBytes": limit_bytes }),
            Self::NotUtf8 { path } => json!({ "path": path }),
            Self::Refused { cli_code, issues, .. } => {
                let issues: Vec<Value> =
                    issues.iter().map(|(level, message)| json!({ "level": level, "message": message })).collect();
                json!({ "code": cli_code, "issues": issues })
            }
            Self::TooMany { found, limit } | Self::TooManyDocuments { found, limit } => {
                json!({ "found": found, "limit": limit })
            }
            Self::Shared(inner) => return inner.details(),
            _ => return None,
        })
    }

    /// Wraps a file error with the step it happened in.
    pub(crate) fn io(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_keeps_its_source_and_hides_paths() {
        let error = ChangesError::io("reading tasks.md")(io::Error::other("/secret/path"));
        assert!(!error.to_string().contains("/secret"));
        assert!(std::error::Error::source(&error).is_some_and(|s| s.to_string().contains("/secret")));
        assert!(ChangesError::CODES.contains(&error.code()));
    }
}

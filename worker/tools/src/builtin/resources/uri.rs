//! Which URI is which resource.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use task_mcp_changes::{ActiveQuery, DocumentName};
use task_mcp_mcp::ResourceTemplate;

use super::{JSON, MARKDOWN};

/// The first page of the active changes.
pub(super) const ACTIVE: &str = "changes://active";

/// Longest URI of a page: a token has at most 1,024 characters.
const PAGE_URI_BYTES_MAX: usize = 4096;

/// What a URI may stand for, whether it exists or not.
pub(super) enum Wanted {
    /// A page of the active changes.
    Active(ActiveQuery),
    /// A document.
    Document(DocumentName),
}

impl Wanted {
    /// `None` for a URI that is none of a resource here.
    pub(super) fn of(uri: &str) -> Option<Self> {
        if let Some(rest) = uri.strip_prefix(ACTIVE) {
            return page(rest).filter(|_| uri.len() <= PAGE_URI_BYTES_MAX).map(Self::Active);
        }
        DocumentName::of_uri(uri).map(Self::Document)
    }
}

/// The query of a page, each key at most once: what comes after [`ACTIVE`].
fn page(rest: &str) -> Option<ActiveQuery> {
    let mut query = ActiveQuery::default();
    if rest.is_empty() {
        return Some(query);
    }
    for pair in rest.strip_prefix('?')?.split('&') {
        let (key, value) = pair.split_once('=')?;
        let value = value_of(value)?;
        let is_new = match key {
            "page" => query.page.replace(number(&value)?).is_none(),
            "pageSize" => query.page_size.replace(number(&value)?).is_none(),
            "pageToken" => query.page_token.replace(value.into_owned()).is_none(),
            _ => false,
        };
        if !is_new {
            return None;
        }
    }
    Some(query)
}

/// Escapes resolved, strictly. What a token or a number holds needs none.
fn value_of(value: &str) -> Option<Cow<'_, str>> {
    let value = percent_decode_str(value).decode_utf8().ok()?;
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    value.bytes().all(is_sound).then_some(value)
}

fn number(text: &str) -> Option<u64> {
    // `parse` takes a plus sign too.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Resources of one form.
pub(crate) struct Template {
    /// The form of their URIs (RFC 6570).
    pub(crate) uri: &'static str,
    name: &'static str,
    title: &'static str,
    description: &'static str,
    mime_type: &'static str,
}

impl Template {
    pub(super) fn describe(&self) -> ResourceTemplate {
        ResourceTemplate {
            uri_template: self.uri.to_owned(),
            name: self.name.to_owned(),
            title: self.title.to_owned(),
            description: self.description.to_owned(),
            mime_type: self.mime_type.to_owned(),
        }
    }
}

/// The form of a change's delta.
pub(crate) const DELTA: &str = "change://{slug}/delta/{capability}";
/// The form of a living spec.
pub(crate) const SPEC: &str = "spec://{capability}";

/// All forms, in the order they are listed.
pub(crate) const TEMPLATES: [Template; 6] = [
    Template {
        uri: "changes://active{?page,pageSize}",
        name: "active-changes",
        title: "Active changes",
        description: "A page of the changes that are under way, the most recently edited first, as the tool changes.active tells it. \
                      pageSize is 1 to 200, 50 if it is left out; nextPageToken leads on as the parameter pageToken.",
        mime_type: JSON,
    },
    Template {
        uri: "change://{slug}/proposal",
        name: "proposal",
        title: "Proposal of a change",
        description: "Why the change is made and what it changes.",
        mime_type: MARKDOWN,
    },
    Template {
        uri: "change://{slug}/tasks",
        name: "tasks",
        title: "Tasks of a change",
        description: "What is to be done, as a list of checkboxes.",
        mime_type: MARKDOWN,
    },
    Template {
        uri: "change://{slug}/design",
        name: "design",
        title: "Design of a change",
        description: "How it is done and which ways were not taken; not every change has one.",
        mime_type: MARKDOWN,
    },
    Template {
        uri: DELTA,
        name: "delta",
        title: "Delta of a change",
        description: "What the change adds to the living spec of a capability, modifies, removes and renames there. A capability in \
                      folders has slashes, which may be escaped.",
        mime_type: MARKDOWN,
    },
    Template {
        uri: SPEC,
        name: "spec",
        title: "Living spec",
        description: "What holds today for a capability: its requirements with their scenarios.",
        mime_type: MARKDOWN,
    },
];

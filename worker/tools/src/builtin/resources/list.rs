//! Pages of resources: the list of changes first, then every document in the order of their names.
//!
//! A cursor names the last resource of its page, so that the next page goes on behind it, whatever came or went meanwhile.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use task_mcp_changes::{DocumentEntry, DocumentName, Part};
use task_mcp_mcp::{ResourceDescription, RpcError};

use super::uri::{ACTIVE, TEMPLATES};
use super::{JSON, MARKDOWN};
use crate::offers::ResourcePage;

/// Resources on a page: some ten kilobytes.
const PAGE_SIZE: usize = 100;

/// Longest cursor in characters: the longest URI of a document, encoded.
const CURSOR_MAX: usize = 6 * 1024;

/// The document that the page of this cursor begins behind.
pub(super) fn after(cursor: &str) -> Result<DocumentName, RpcError> {
    let read = || {
        let uri = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        DocumentName::of_uri(&uri)
    };
    let name = if cursor.len() > CURSOR_MAX { None } else { read() };
    name.ok_or_else(|| RpcError::invalid_params("the field `params.cursor` is not a cursor of this server"))
}

/// The page behind `after`, else the first one, of documents in the order of their names.
pub(super) fn page(documents: &[DocumentEntry], after: Option<DocumentName>) -> ResourcePage {
    let (mut resources, start) = match after {
        None => (vec![active()], 0),
        Some(after) => (Vec::new(), documents.partition_point(|entry| entry.name <= after)),
    };
    let end = start.saturating_add(PAGE_SIZE - resources.len()).min(documents.len());
    let page = documents.get(start..end).unwrap_or_default();
    resources.extend(page.iter().map(described));
    let next = page.last().filter(|_| end < documents.len()).map(|last| URL_SAFE_NO_PAD.encode(last.name.uri()));
    ResourcePage { resources, next }
}

fn active() -> ResourceDescription {
    let of = TEMPLATES.first();
    ResourceDescription {
        uri: ACTIVE.to_owned(),
        name: "active-changes".to_owned(),
        title: Some("Active changes".to_owned()),
        description: of.map(|template| template.describe().description),
        mime_type: JSON.to_owned(),
        size: None,
    }
}

fn described(entry: &DocumentEntry) -> ResourceDescription {
    let uri = entry.name.uri();
    // Unique as the URI is: of a change, without the scheme; a spec's scheme keeps it from looking like a change.
    let name = uri.strip_prefix("change://").unwrap_or(&uri).replacen("://", "/", 1);
    ResourceDescription {
        name,
        uri,
        title: Some(title(&entry.name)),
        description: None,
        mime_type: MARKDOWN.to_owned(),
        size: Some(entry.size_bytes),
    }
}

/// What a document is, for people.
pub(super) fn title(name: &DocumentName) -> String {
    match name {
        DocumentName::Change(slug, Part::Proposal) => format!("Proposal of {slug}"),
        DocumentName::Change(slug, Part::Tasks) => format!("Tasks of {slug}"),
        DocumentName::Change(slug, Part::Design) => format!("Design of {slug}"),
        DocumentName::Change(slug, Part::Delta(capability)) => {
            format!("Delta of {slug} for {}", capability.as_str())
        }
        DocumentName::Spec(capability) => format!("Living spec of {}", capability.as_str()),
    }
}

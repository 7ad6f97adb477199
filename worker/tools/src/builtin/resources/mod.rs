//! Resources over changes: the list of active changes, the documents of each, the living specs.
//!
//! - `uri`: which URI is which resource; `list`: pages of them
//!
//! Everybody may read what everybody's tools tell: no scopes are needed, and nothing of the caller enters the contents.

mod list;
#[cfg(test)]
mod tests;
mod uri;

use std::sync::Arc;

use task_mcp_cache::Tag;
use task_mcp_changes::{ChangesError, Document, DocumentName, Store};
use task_mcp_mcp::{ResourceBody, ResourceContents, ResourceTemplate};

use self::uri::Wanted;
use super::{refusal, tags};
use crate::call::Call;
use crate::error::{ToolError, code};
use crate::methods::not_found;
use crate::offers::{ResourcePage, Resources};
use crate::stop::Stop;
use crate::tool::{BoxFuture, CachePolicy, Partition};

pub(super) use self::uri::{DELTA, SPEC, TEMPLATES};

const JSON: &str = "application/json";
const MARKDOWN: &str = "text/markdown";

/// The resources over one store.
pub(super) struct Documents {
    store: Arc<dyn Store>,
}

impl Documents {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

impl Resources for Documents {
    fn templates(&self) -> Vec<ResourceTemplate> {
        TEMPLATES.iter().map(uri::Template::describe).collect()
    }

    fn list<'a>(&'a self, _: &'a Call, cursor: Option<&'a str>) -> BoxFuture<'a, Result<ResourcePage, Stop>> {
        Box::pin(async move {
            let after = cursor.map(list::after).transpose()?;
            Ok(list::page(&self.store.documents().await.map_err(refusal)?, after))
        })
    }

    fn read<'a>(&'a self, _: &'a Call, uri: &'a str) -> BoxFuture<'a, Result<Option<Vec<ResourceContents>>, Stop>> {
        Box::pin(async move {
            let Some(wanted) = Wanted::of(uri) else { return Ok(None) };
            let contents = match wanted {
                Wanted::Active(query) => match self.store.active(query).await {
                    Ok(page) => contents(uri, JSON, serde_json::to_string(&page).map_err(|_| ToolError::internal())?),
                    Err(error) => return Err(absent(uri, error)),
                },
                Wanted::Document(name) => match self.store.document(&name).await {
                    Ok(Document { text, .. }) => contents(uri, MARKDOWN, text),
                    Err(error) => return Err(absent(uri, error)),
                },
            };
            Ok(Some(vec![contents]))
        })
    }

    fn owns(&self, uri: &str) -> bool {
        Wanted::of(uri).is_some()
    }

    fn tags(&self, uri: &str) -> Vec<Tag> {
        match Wanted::of(uri) {
            Some(Wanted::Active(_)) => vec![tags::changes(), tags::everything()],
            Some(Wanted::Document(name)) => tags::text_of(&name),
            None => Vec::new(),
        }
    }

    fn list_tags(&self) -> Vec<Tag> {
        vec![tags::documents(), tags::everything()]
    }

    /// The only input that is refused after the schema has let it pass is a resource that does not exist.
    fn cache(&self) -> CachePolicy {
        CachePolicy::On { partition: Partition::Public, ttl: None, stale: false, facts: &[code::INVALID_INPUT] }
    }
}

/// A document as contents, as prompts embed it.
pub(super) fn embedded(document: Document) -> ResourceContents {
    contents(&document.name.uri(), MARKDOWN, document.text)
}

/// Where a document is, for people.
pub(super) fn title(name: &DocumentName) -> String {
    list::title(name)
}

fn contents(uri: &str, mime_type: &str, text: String) -> ResourceContents {
    ResourceContents { uri: uri.to_owned(), mime_type: mime_type.to_owned(), body: ResourceBody::Text(text) }
}

/// What the store says of a URI under which nothing is read.
fn absent(uri: &str, error: ChangesError) -> Stop {
    match error {
        ChangesError::NoChange { .. }
        | ChangesError::Archived { .. }
        | ChangesError::NoDocument { .. }
        | ChangesError::BadInput { .. }
        | ChangesError::BadToken
        // It is there, but is no resource as long as it is like that: nothing the server has done wrong.
        | ChangesError::Escape { .. }
        | ChangesError::TooLarge { .. }
        | ChangesError::NotUtf8 { .. } => not_found(uri, Some(&refusal(error))).into(),
        other => refusal(other).into(),
    }
}

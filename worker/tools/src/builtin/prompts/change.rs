//! A change that a prompt is about, with its documents.

use std::collections::BTreeMap;

use serde_json::json;
use task_mcp_changes::{ChangeDetails, ChangesError, DocumentName, Part, Slug, Store};
use task_mcp_mcp::{Content, RpcError};

use super::super::refusal;
use super::super::resources::{embedded, title};
use super::{SLUG, refused, says};
use crate::offers::PromptMessage;
use crate::stop::Stop;

/// Text that one prompt embeds, in bytes: what a model reads in one go. What is over it is linked instead.
const EMBEDDED_BYTES_MAX: usize = 128 * 1024;

/// Documents of one prompt, embedded or linked: those of a change are a handful.
const DOCUMENTS_MAX: usize = 64;

/// The change that the argument names.
pub(super) async fn named(store: &dyn Store, arguments: &BTreeMap<String, String>) -> Result<ChangeDetails, Stop> {
    let slug = arguments.get(SLUG).map(String::as_str).unwrap_or_default();
    let slug = Slug::parse(slug).map_err(no_change)?;
    store.show(&slug).await.map_err(no_change)
}

/// A slug under which there is no active change is a wrong argument; anything else is the store's.
fn no_change(error: ChangesError) -> Stop {
    match error {
        ChangesError::BadSlug { .. } | ChangesError::NoChange { .. } | ChangesError::Archived { .. } => {
            let reason = refusal(error);
            let hint = reason.hint.as_deref().map(|hint| format!(". {hint}")).unwrap_or_default();
            let error: RpcError = refused(SLUG, &format!("{}{hint}", reason.message));
            error.with_data(json!({ "reason": reason })).into()
        }
        other => refusal(other).into(),
    }
}

/// The documents of the change, and with `living` the living specs that it touches.
pub(super) async fn documents(
    store: &dyn Store,
    change: &ChangeDetails,
    living: bool,
) -> Result<Vec<PromptMessage>, Stop> {
    let all = store.documents().await.map_err(refusal)?;
    let is_of_change = |name: &DocumentName| matches!(name, DocumentName::Change(slug, _) if *slug == change.slug);
    let of_change: Vec<&DocumentName> = all.iter().map(|entry| &entry.name).filter(|name| is_of_change(name)).collect();
    let touches = |name: &DocumentName| match name {
        DocumentName::Spec(living) => of_change
            .iter()
            .any(|name| matches!(name, DocumentName::Change(_, Part::Delta(capability)) if capability == living)),
        DocumentName::Change(..) => false,
    };
    let specs = all.iter().map(|entry| &entry.name).filter(|name| living && touches(name));
    let mut messages = Vec::new();
    let mut room = EMBEDDED_BYTES_MAX;
    for name in of_change.iter().copied().chain(specs).take(DOCUMENTS_MAX) {
        let content = match store.document(name).await {
            Ok(document) if document.text.len() <= room => {
                room -= document.text.len();
                Content::Resource(embedded(document))
            }
            // Gone meanwhile.
            Err(ChangesError::NoDocument { .. }) => continue,
            Ok(_) | Err(_) => {
                Content::Link { uri: name.uri(), name: title(name), mime_type: "text/markdown".to_owned() }
            }
        };
        messages.push(says(content));
    }
    Ok(messages)
}

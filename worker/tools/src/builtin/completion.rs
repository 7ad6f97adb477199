//! Slugs and capabilities while they are typed: what begins like it, then what has it inside.

use std::collections::BTreeSet;
use std::sync::Arc;

use task_mcp_changes::{ActiveQuery, DocumentName, Part, Slug, Store};

use super::resources::{DELTA, SPEC, TEMPLATES};
use super::{prompts, refusal};
use crate::call::Call;
use crate::error::ToolError;
use crate::offers::{Completer, Completion, Reference, Typed};
use crate::stop::Stop;
use crate::tool::BoxFuture;

/// Changes asked for at a time: the largest page there is.
const PAGE_SIZE: u64 = 200;

/// Completes from the index of one store.
pub(super) struct Names {
    store: Arc<dyn Store>,
}

impl Names {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Slugs of the active changes, the most recently edited first.
    async fn slugs(&self) -> Result<Vec<String>, ToolError> {
        let mut slugs = Vec::new();
        let mut query = ActiveQuery { page_size: Some(PAGE_SIZE), ..ActiveQuery::default() };
        loop {
            let page = self.store.active(query.clone()).await.map_err(refusal)?;
            // Folders whose names are no slug are listed too.
            let addressable = page.items.iter().filter(|item| Slug::parse(&item.slug).is_ok());
            slugs.extend(addressable.map(|item| item.slug.clone()));
            match page.next_page_token {
                Some(token) => query.page_token = Some(token),
                None => return Ok(slugs),
            }
        }
    }

    /// Capabilities of the documents that `of` picks, in their order.
    async fn capabilities(&self, of: impl Fn(&DocumentName) -> Option<&str>) -> Result<Vec<String>, ToolError> {
        let documents = self.store.documents().await.map_err(refusal)?;
        let found: BTreeSet<&str> = documents.iter().filter_map(|entry| of(&entry.name)).collect();
        Ok(found.into_iter().map(str::to_owned).collect())
    }

    /// Of the change that is named already, else of all.
    async fn delta_capabilities(&self, slug: Option<&String>) -> Result<Vec<String>, ToolError> {
        self.capabilities(|name| match name {
            DocumentName::Change(of, Part::Delta(capability)) if slug.is_none_or(|slug| slug == of.as_str()) => {
                Some(capability.as_str())
            }
            _ => None,
        })
        .await
    }

    async fn spec_capabilities(&self) -> Result<Vec<String>, ToolError> {
        self.capabilities(|name| match name {
            DocumentName::Spec(capability) => Some(capability.as_str()),
            DocumentName::Change(..) => None,
        })
        .await
    }
}

impl Completer for Names {
    fn complete<'a>(&'a self, _: &'a Call, typed: &'a Typed) -> BoxFuture<'a, Result<Option<Completion>, Stop>> {
        Box::pin(async move {
            let names = match (&typed.of, typed.argument.as_str()) {
                (Reference::Prompt(name), prompts::SLUG) if prompts::has(name) => self.slugs().await?,
                (Reference::Resource(uri), "slug") if TEMPLATES.iter().any(|template| template.uri == *uri) => {
                    self.slugs().await?
                }
                (Reference::Resource(uri), "capability") if uri == DELTA => {
                    self.delta_capabilities(typed.others.get("slug")).await?
                }
                (Reference::Resource(uri), "capability") if uri == SPEC => self.spec_capabilities().await?,
                _ => return Ok(None),
            };
            Ok(Some(matching(names, &typed.value)))
        })
    }
}

/// Those that begin with what is typed, then those that have it inside, each in the order they came in; upper and lower case are one.
fn matching(names: Vec<String>, typed: &str) -> Completion {
    let typed = typed.to_lowercase();
    let place = |name: &String| name.to_lowercase().find(&typed);
    let mut values: Vec<String> = names.into_iter().filter(|name| place(name).is_some()).collect();
    // The sort is stable.
    values.sort_by_key(|name| place(name) != Some(0));
    Completion { total: Some(values.len()), values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_comes_before_an_inside_and_order_is_kept() {
        let names = ["re-login", "Login-b", "other", "login-a"].map(str::to_owned).to_vec();
        let Completion { values, total } = matching(names.clone(), "LOGIN");
        assert_eq!((values.join(" "), total), ("Login-b login-a re-login".to_owned(), Some(3)));
        assert_eq!(matching(names.clone(), "").values, names);
        assert_eq!(matching(names, "nothing").total, Some(0));
    }
}

//! Cutting a page out of the index.

use std::sync::Arc;

use super::index::Snapshot;
use crate::error::ChangesError;
use crate::store::token::Token;
use crate::store::types::API_VERSION;
use crate::store::{ActivePage, ActiveQuery, Item, ToolVersions};

const PAGE_SIZE: u64 = 50;
const PAGE_SIZE_MAX: u64 = 200;

/// A checked query.
pub(super) struct Wanted {
    page: usize,
    size: usize,
    token: Option<Token>,
    owner: Option<String>,
    template: Option<String>,
}

impl Wanted {
    pub(super) fn parse(query: ActiveQuery) -> Result<Self, ChangesError> {
        let bounded = |field, value: u64, max: u64, limit: String| match usize::try_from(value) {
            Ok(number) if value >= 1 && value <= max => Ok(number),
            _ => Err(ChangesError::BadInput { field, limit }),
        };
        let size = query.page_size.unwrap_or(PAGE_SIZE);
        let size = bounded("pageSize", size, PAGE_SIZE_MAX, format!("it must be 1 to {PAGE_SIZE_MAX}"))?;
        let page = bounded("page", query.page.unwrap_or(1), u64::MAX, "it must be 1 or more".to_owned())?;
        let token = query.page_token.as_deref().map(Token::decode).transpose()?;
        let page = token.as_ref().map_or(page, |token| token.page);
        Ok(Self { page, size, token, owner: query.owner, template: query.template })
    }

    pub(super) fn page(&self, snapshot: &Snapshot, now_ms: i64) -> Result<ActivePage, ChangesError> {
        if self.owner.is_none() && self.template.is_none() {
            return Ok(self.cut(&snapshot.items, now_ms));
        }
        let fits = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        let matching =
            snapshot.items.iter().filter(|i| fits(&self.owner, &i.owner) && fits(&self.template, &i.template));
        let matching: Vec<Arc<Item>> = matching.cloned().collect();
        Ok(self.cut(&matching, now_ms))
    }

    fn cut(&self, items: &[Arc<Item>], now_ms: i64) -> ActivePage {
        let start = match &self.token {
            Some(token) => items.partition_point(|item| token.is_at_or_behind(item)),
            None => (self.page - 1).saturating_mul(self.size),
        };
        let end = start.saturating_add(self.size).min(items.len());
        let page: Vec<Arc<Item>> = items.get(start..end).unwrap_or_default().to_vec();
        let next = page.last().filter(|_| end < items.len()).map(|last| {
            let (updated_at, slug) = (last.updated_at.clone(), last.slug.clone());
            Token { page: self.page.saturating_add(1), updated_at, slug }.encode(now_ms)
        });
        ActivePage {
            api_version: API_VERSION,
            items: page,
            page: self.page,
            page_size: self.size,
            total: items.len(),
            next_page_token: next,
            tool_versions: ToolVersions::of("changes.active"),
        }
    }
}

impl Token {
    /// Whether the item was on an earlier page: newer, or as new and not behind in the order of slugs.
    fn is_at_or_behind(&self, item: &Item) -> bool {
        (item.updated_at.as_str(), self.slug.as_str()) > (self.updated_at.as_str(), item.slug.as_str())
            || (item.updated_at == self.updated_at && item.slug == self.slug)
    }
}

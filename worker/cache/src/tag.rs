//! What an entry depends on.

use std::sync::Arc;

use task_mcp_scoreboard::Epochs;

/// Names something a result depends on and a write changes, as `change:add-login`. Two results with one tag go stale together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

impl Tag {
    /// The tag of that name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The cell of its epoch.
    pub fn cell(&self) -> usize {
        Epochs::cell(&self.0)
    }
}

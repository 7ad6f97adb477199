//! What an entry depends on.

use std::sync::Arc;

use task_mcp_scoreboard::Epochs;

/// Names something a result depends on and a write changes, as `change:add-login`. Two results with one tag go stale together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    name: Arc<str>,
    /// Of its epoch; a hash of the name, taken once.
    cell: usize,
}

impl Tag {
    /// The tag of that name.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), cell: Epochs::cell(name) }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The cell of its epoch.
    pub fn cell(&self) -> usize {
        self.cell
    }
}

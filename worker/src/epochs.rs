//! The tree's epoch on the shared memory.

use task_mcp_changes::EpochSource;
use task_mcp_scoreboard::Epochs;

/// The epoch of the whole tree: one number all processes of the instance share. A write bumps it before it answers, and every
/// read of an index compares it, so that no two workers disagree after a write.
#[derive(Debug, Clone)]
pub(crate) struct TreeEpoch(Epochs);

/// The tag under which the tree's epoch is kept.
const TAG: &str = "tree";

impl TreeEpoch {
    /// The tree's epoch in `epochs`.
    pub(crate) fn new(epochs: Epochs) -> Self {
        Self(epochs)
    }
}

impl EpochSource for TreeEpoch {
    fn current(&self) -> u64 {
        self.0.current(TAG)
    }

    fn bump(&self) {
        self.0.bump(TAG);
    }
}

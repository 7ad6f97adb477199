//! Tag epochs: a cached result is true as long as the epoch of each of its tags is what it was before the result was
//! computed.
//!
//! A tag has the cell FNV-1a-64(tag's bytes) mod 4096. Two tags in one cell only invalidate more than they need to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::fnv1a_64;
use crate::memory::Region;

/// Number of cells; part of the frozen layout.
pub const EPOCH_CELLS: usize = 4096;

/// The epochs of all tags. Cloning is cheap and shares the mapping.
#[derive(Debug, Clone)]
pub struct Epochs {
    region: Arc<Region>,
    at: usize,
}

impl Epochs {
    pub(super) fn new(region: Arc<Region>, at: usize) -> Self {
        Self { region, at }
    }

    /// The cell of a tag, below [`EPOCH_CELLS`].
    pub fn cell(tag: &str) -> usize {
        (fnv1a_64(tag.as_bytes()) % EPOCH_CELLS as u64) as usize
    }

    /// The present epoch of a tag. Read it before the computation whose result it will guard.
    pub fn current(&self, tag: &str) -> u64 {
        self.of_cell(Self::cell(tag))
    }

    /// The present epoch of the tags of a cell; 0 beyond the last.
    pub fn of_cell(&self, cell: usize) -> u64 {
        if cell >= EPOCH_CELLS {
            return 0;
        }
        self.region.word(self.at + cell).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Starts a new epoch of a tag and tells it. After the write is committed, before it is answered.
    pub fn bump(&self, tag: &str) -> u64 {
        let word = self.region.word(self.at + Self::cell(tag));
        word.map_or(0, |word| word.fetch_add(1, Ordering::AcqRel).wrapping_add(1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::Commons;

    #[test]
    fn a_bump_is_seen_through_another_mapping() {
        let one = Commons::create().unwrap();
        let two = Commons::open(one.try_clone_fd().unwrap()).unwrap();
        assert_eq!(one.epochs().current("change:x"), 0);
        assert_eq!((two.epochs().bump("change:x"), one.epochs().current("change:x")), (1, 1));
        assert_eq!(one.incarnation(), two.incarnation());
    }
}

//! Tag epochs: a cached result is true as long as the epoch of each of its tags is what it was before the result was
//! computed.
//!
//! The layout is frozen, for processes of every version share one memfd. In words of eight bytes, little endian:
//!
//! ```text
//! 0       magic, "TMCPEPOC" in ASCII as a big-endian number
//! 1       layout, 1
//! 2       incarnation, random and not 0
//! 3       number of cells, 4096
//! 4..8    0
//! 8..4104 cells; a tag has the cell FNV-1a-64(tag's bytes) mod 4096
//! ```
//!
//! Two tags in one cell only invalidate more than they need to.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use crate::ScoreboardError;
use crate::memory::Region;

/// Number of cells; part of the frozen layout.
pub const EPOCH_CELLS: u64 = 4096;

const MAGIC: u64 = 0x544d_4350_4550_4f43;
const LAYOUT: u64 = 1;
const WORD_MAGIC: usize = 0;
const WORD_LAYOUT: usize = 1;
const WORD_INCARNATION: usize = 2;
const WORD_CELLS: usize = 3;
const FIRST_CELL: u64 = 8;

/// The epochs of all tags. Cloning is cheap and shares the mapping.
#[derive(Debug, Clone)]
pub struct Epochs {
    region: Arc<Region>,
}

impl Epochs {
    /// Makes epochs with a new incarnation.
    ///
    /// # Errors
    /// No memory.
    pub fn create() -> Result<Self, ScoreboardError> {
        let region = Region::create("task-mcp-epochs", FIRST_CELL + EPOCH_CELLS)?;
        region.set(WORD_LAYOUT, LAYOUT);
        region.set(WORD_INCARNATION, random());
        region.set(WORD_CELLS, EPOCH_CELLS);
        region.set(WORD_MAGIC, MAGIC);
        Ok(Self { region: Arc::new(region) })
    }

    /// Takes over epochs that another process made.
    ///
    /// # Errors
    /// A descriptor that does not hold epochs of this layout.
    pub fn open(fd: OwnedFd) -> Result<Self, ScoreboardError> {
        let region = Region::open(fd)?;
        if region.len() <= FIRST_CELL || region.get(WORD_MAGIC) != MAGIC {
            return Err(ScoreboardError::Magic { expected: "epochs" });
        }
        if region.get(WORD_LAYOUT) != LAYOUT {
            return Err(ScoreboardError::Version { found: region.get(WORD_LAYOUT), known: LAYOUT });
        }
        for (what, found, expected) in [
            ("the number of epoch cells", region.get(WORD_CELLS), EPOCH_CELLS),
            ("the size of the epochs in words", region.len(), FIRST_CELL + EPOCH_CELLS),
        ] {
            if found != expected {
                return Err(ScoreboardError::Inconsistent { what, found, expected });
            }
        }
        Ok(Self { region: Arc::new(region) })
    }

    /// A close-on-exec duplicate of the descriptor, to be handed to another process.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn try_clone_fd(&self) -> Result<OwnedFd, ScoreboardError> {
        self.as_fd().try_clone_to_owned().map_err(ScoreboardError::Duplicate)
    }

    /// Names this set of epochs: numbers of another incarnation mean nothing here.
    pub fn incarnation(&self) -> u64 {
        self.region.get(WORD_INCARNATION)
    }

    /// The present epoch of a tag. Read it before the computation whose result it will guard.
    pub fn current(&self, tag: &str) -> u64 {
        self.region.word(cell(tag)).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Starts a new epoch of a tag and tells it. After the write is committed, before it is answered.
    pub fn bump(&self, tag: &str) -> u64 {
        self.region.word(cell(tag)).map_or(0, |word| word.fetch_add(1, Ordering::AcqRel).wrapping_add(1))
    }
}

impl AsFd for Epochs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.region.as_fd()
    }
}

fn cell(tag: &str) -> usize {
    (FIRST_CELL + fnv1a_64(tag.as_bytes()) % EPOCH_CELLS) as usize
}

/// FNV-1a, 64 bits (draft-eastlake-fnv, section 2). Frozen with the layout; speed is that of a short string.
fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// A number that is not 0 and that no other instance has: the standard library seeds its hasher from the system.
fn random() -> u64 {
    RandomState::new().hash_one((SystemTime::now(), std::process::id())).max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_layout_is_frozen() {
        let epochs = Epochs::create().unwrap();
        epochs.bump("foobar");
        let file = std::fs::File::from(epochs.try_clone_fd().unwrap());
        let mut bytes = vec![0; 4104 * 8];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
        let word = |at: usize| u64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().unwrap());
        assert_eq!(word(0).to_be_bytes(), *b"TMCPEPOC");
        assert_eq!((word(1), word(3)), (1, 4096));
        assert_eq!(word(2), epochs.incarnation());
        assert_eq!(word(8 + (0x8594_4171_f739_67e8_u64 % 4096) as usize), 1);
        assert_eq!(file.metadata().unwrap().len(), 4104 * 8);
    }

    #[test]
    fn a_bump_is_seen_through_another_mapping() {
        let one = Epochs::create().unwrap();
        let two = Epochs::open(one.try_clone_fd().unwrap()).unwrap();
        assert_eq!((one.current("change:x"), two.bump("change:x"), one.current("change:x")), (0, 1, 1));
        assert_eq!(one.incarnation(), two.incarnation());
        assert_ne!(one.incarnation(), Epochs::create().unwrap().incarnation());
    }

    #[test]
    fn other_memory_is_refused() {
        let foreign = Region::create("t", FIRST_CELL + EPOCH_CELLS).unwrap();
        let fd = foreign.as_fd().try_clone_to_owned().unwrap();
        assert!(matches!(Epochs::open(fd), Err(ScoreboardError::Magic { .. })));
        let small = Region::create("t", 8).unwrap();
        small.set(WORD_MAGIC, MAGIC);
        assert!(Epochs::open(small.as_fd().try_clone_to_owned().unwrap()).is_err());
    }
}

//! What all processes of an instance hold in common, whatever version they are: tag epochs, leases of running computations,
//! rate limits, connections by address and in all, and what is known of a shared cache elsewhere.
//!
//! One memfd, made once and inherited for ever, so the layout is frozen; what is not used costs no memory. In words of eight
//! bytes, little endian:
//!
//! ```text
//! 0          magic, "TMCPCOMM" in ASCII as a big-endian number
//! 1          layout, 1
//! 2          incarnation, random and not 0
//! 3          size in words
//! 4          generation of the embedded cache (`Commons::cache_generation`)
//! 5..16      0
//! 16..       tag epochs: 4096 cells (`epochs`)
//! 4112..     the remote epochs: 16 words, 4096 cells known, 4096 cells told (`remote`)
//! 12320..    leases: 4096 cells of 4 words (`leases`)
//! 28704..    rate limits: 4096 rows of 8 words (`rates`)
//! 61472..    connections: 512 rows of 16 words and 8192 cells of 2 words (`addresses`)
//! ```

mod addresses;
mod epochs;
mod leases;
mod rates;
mod remote;

use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

pub use addresses::{AddressKey, AddressRow, Addresses, Held, Place};
pub use epochs::{EPOCH_CELLS, Epochs};
pub use leases::{Fence, Leased, Leases};
pub use rates::{Quota, Rated, Rates};
pub use remote::{Membership, Remote, RemoteTrust};

use crate::ScoreboardError;
use crate::memory::Region;

const MAGIC: u64 = 0x544d_4350_434f_4d4d;
const LAYOUT: u64 = 1;
const WORD_MAGIC: usize = 0;
const WORD_LAYOUT: usize = 1;
const WORD_INCARNATION: usize = 2;
const WORD_SIZE: usize = 3;
const WORD_CACHE_GENERATION: usize = 4;

const EPOCHS_AT: usize = 16;
const REMOTE_AT: usize = EPOCHS_AT + EPOCH_CELLS;
const LEASES_AT: usize = REMOTE_AT + remote::WORDS;
const RATES_AT: usize = LEASES_AT + leases::WORDS;
const ADDRESSES_AT: usize = RATES_AT + rates::WORDS;
const TOTAL_WORDS: u64 = (ADDRESSES_AT + addresses::WORDS) as u64;

/// The memory itself. Cloning is cheap and shares the mapping.
#[derive(Debug, Clone)]
pub struct Commons {
    region: Arc<Region>,
}

impl Commons {
    /// Makes commons with a new incarnation.
    ///
    /// # Errors
    /// No memory.
    pub fn create() -> Result<Self, ScoreboardError> {
        let region = Region::create("task-mcp-commons", TOTAL_WORDS)?;
        region.set(WORD_LAYOUT, LAYOUT);
        region.set(WORD_INCARNATION, random());
        region.set(WORD_SIZE, TOTAL_WORDS);
        region.set(WORD_MAGIC, MAGIC);
        Ok(Self { region: Arc::new(region) })
    }

    /// Takes over commons that another process made.
    ///
    /// # Errors
    /// A descriptor that does not hold commons of this layout.
    pub fn open(fd: OwnedFd) -> Result<Self, ScoreboardError> {
        let region = Region::open(fd)?;
        if region.len() <= EPOCHS_AT as u64 || region.get(WORD_MAGIC) != MAGIC {
            return Err(ScoreboardError::Magic { expected: "commons" });
        }
        if region.get(WORD_LAYOUT) != LAYOUT {
            return Err(ScoreboardError::Version { found: region.get(WORD_LAYOUT), known: LAYOUT });
        }
        for found in [region.get(WORD_SIZE), region.len()] {
            if found != TOTAL_WORDS {
                let what = "the size of the commons in words";
                return Err(ScoreboardError::Inconsistent { what, found, expected: TOTAL_WORDS });
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

    /// Names this memory: numbers of another incarnation mean nothing here.
    pub fn incarnation(&self) -> u64 {
        self.region.get(WORD_INCARNATION)
    }

    /// Names the file of the embedded cache among those of this incarnation; 0 is the first.
    pub fn cache_generation(&self) -> u64 {
        self.cache_generation_word().map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Says that the file of generation `broken` cannot be used, so that all processes go on with the next; false if somebody has
    /// said so before. Any process may; one compare-and-swap, so whoever dies here has said it or not.
    pub fn leave_cache_generation(&self, broken: u64) -> bool {
        let next = broken.wrapping_add(1);
        self.cache_generation_word()
            .is_some_and(|word| word.compare_exchange(broken, next, Ordering::AcqRel, Ordering::Acquire).is_ok())
    }

    fn cache_generation_word(&self) -> Option<&AtomicU64> {
        self.region.word(WORD_CACHE_GENERATION)
    }

    /// The epochs of tags.
    pub fn epochs(&self) -> Epochs {
        Epochs::new(Arc::clone(&self.region), EPOCHS_AT)
    }

    /// The leases of running computations.
    pub fn leases(&self) -> Leases {
        Leases::new(Arc::clone(&self.region), LEASES_AT)
    }

    /// Rate limits.
    pub fn rates(&self) -> Rates {
        Rates::new(Arc::clone(&self.region), RATES_AT)
    }

    /// Open connections, by client address and in all.
    pub fn addresses(&self) -> Addresses {
        Addresses::new(Arc::clone(&self.region), ADDRESSES_AT, self.incarnation())
    }

    /// What is known of the epochs of a cache that machines share.
    pub fn remote(&self) -> Remote {
        Remote::new(Arc::clone(&self.region), REMOTE_AT)
    }
}

impl AsFd for Commons {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.region.as_fd()
    }
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
        let positions = [EPOCHS_AT, REMOTE_AT, LEASES_AT, RATES_AT, ADDRESSES_AT];
        assert_eq!(positions, [16, 4_112, 12_320, 28_704, 61_472]);
        let commons = Commons::create().unwrap();
        commons.epochs().bump("foobar");
        let file = std::fs::File::from(commons.try_clone_fd().unwrap());
        let mut bytes = vec![0; EPOCHS_AT * 8 + EPOCH_CELLS * 8];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
        let word = |at: usize| u64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().unwrap());
        assert_eq!(word(0).to_be_bytes(), *b"TMCPCOMM");
        assert_eq!((word(1), word(2), word(3)), (1, commons.incarnation(), TOTAL_WORDS));
        assert_eq!(word(16 + (0x8594_4171_f739_67e8_u64 % 4096) as usize), 1);
        assert_eq!((file.metadata().unwrap().len(), TOTAL_WORDS), (TOTAL_WORDS * 8, 8_458_272));
    }

    #[test]
    fn of_all_who_find_a_file_broken_one_leaves_it() {
        let one = Commons::create().unwrap();
        let two = Commons::open(one.try_clone_fd().unwrap()).unwrap();
        assert!(one.leave_cache_generation(0) && !two.leave_cache_generation(0));
        assert_eq!(two.cache_generation(), 1);
    }

    #[test]
    fn other_memory_is_refused() {
        let foreign = Region::create("t", TOTAL_WORDS).unwrap();
        let fd = foreign.as_fd().try_clone_to_owned().unwrap();
        assert!(matches!(Commons::open(fd), Err(ScoreboardError::Magic { .. })));
        let small = Region::create("t", 8).unwrap();
        small.set(WORD_MAGIC, MAGIC);
        assert!(Commons::open(small.as_fd().try_clone_to_owned().unwrap()).is_err());
        assert_ne!(Commons::create().unwrap().incarnation(), Commons::create().unwrap().incarnation());
    }
}

//! The mapping. All shared memory of this crate is a [`Region`]: words that are only ever touched as atomics.
#![allow(unsafe_code)] // The only file of the crate that needs it: the view of the mapping as atomics.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags};

use crate::ScoreboardError;
use crate::layout::WORD_BYTES;
use crate::plan::{MAX_MEMORY_BYTES, limit};

/// A sealed memfd and its shared mapping, both for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Region {
    map: MmapRaw,
    words: usize,
    fd: OwnedFd,
}

impl Region {
    /// Makes zeroed shared memory whose size can never change again. The descriptor is close-on-exec.
    pub(crate) fn create(name: &str, words: u64) -> Result<Self, ScoreboardError> {
        let bytes = words * WORD_BYTES;
        let failed = |source| ScoreboardError::Create { bytes, source };
        let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(failed)?;
        rustix::fs::ftruncate(&fd, bytes).map_err(failed)?;
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .map_err(ScoreboardError::Seal)?;
        Self::open(fd)
    }

    /// Maps an inherited descriptor after checking that its size is sealed.
    pub(crate) fn open(fd: OwnedFd) -> Result<Self, ScoreboardError> {
        // A file that is not a memfd has no seals and answers EINVAL: it is not ours either.
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(|errno| match errno {
            rustix::io::Errno::INVAL => ScoreboardError::Unsealed,
            other => ScoreboardError::Seal(other),
        })?;
        if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(ScoreboardError::Unsealed);
        }
        let bytes = rustix::fs::fstat(&fd).map_err(ScoreboardError::Size)?.st_size.max(0) as u64;
        limit("bytes of shared memory", bytes, MAX_MEMORY_BYTES)?;
        let words = (bytes / WORD_BYTES) as usize;
        let map = MmapOptions::new()
            .len(words * WORD_BYTES as usize)
            .map_raw(&fd)
            .map_err(|source| ScoreboardError::Map { bytes, source })?;
        Ok(Self { map, words, fd })
    }

    /// Number of words mapped.
    pub(crate) fn len(&self) -> u64 {
        self.words as u64
    }

    /// The word at a position, relaxed; beyond the end 0.
    pub(crate) fn get(&self, at: usize) -> u64 {
        self.word(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Writes a word, relaxed.
    pub(crate) fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.word(at) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Adds to a word, relaxed and wrapping: a negative gauge is a two's complement number.
    pub(crate) fn add(&self, at: usize, value: u64) {
        if let Some(word) = self.word(at) {
            word.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Zeroes a word and tells what it was.
    pub(crate) fn take(&self, at: usize) -> u64 {
        self.word(at).map_or(0, |word| word.swap(0, Ordering::AcqRel))
    }

    /// The word itself, for the few that need an ordering; `None` beyond the end.
    pub(crate) fn word(&self, at: usize) -> Option<&AtomicU64> {
        let word = self.words().get(at);
        debug_assert!(word.is_some(), "word {at} lies beyond the mapping");
        word
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: `map` owns a live shared mapping of `words * 8` bytes that starts at a page boundary, so it is aligned
        // for `AtomicU64`, which has the layout of `u64` and no invalid bit patterns. The file is a memfd sealed against
        // shrinking, checked before it was mapped, so every page stays backed. All processes touch the memory only
        // through this type, that is through atomics. The borrow of `self` keeps the mapping alive for the slice.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), self.words) }
    }
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn an_unsealed_or_ordinary_file_is_refused() {
        let unsealed = rustix::fs::memfd_create("t", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&unsealed, 4096).unwrap();
        assert!(matches!(Region::open(unsealed), Err(ScoreboardError::Unsealed)));
        let ordinary = OwnedFd::from(std::fs::File::open("/proc/self/exe").unwrap());
        assert!(matches!(Region::open(ordinary), Err(ScoreboardError::Unsealed | ScoreboardError::Seal(_))));
    }

    #[test]
    fn size_cannot_change_and_two_mappings_see_each_other() {
        let one = Region::create("t", 16).unwrap();
        assert!(rustix::fs::ftruncate(one.as_fd(), 8).is_err());
        assert!(rustix::fs::ftruncate(one.as_fd(), 4096).is_err());
        let two = Region::open(one.as_fd().try_clone_to_owned().unwrap()).unwrap();
        one.add(3, 7);
        assert_eq!((two.get(3), two.take(3), one.get(3)), (7, 7, 0));
    }
}

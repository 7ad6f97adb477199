//! Entries in the memory of the process, in front of Redis.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::entry::{Freshness, freshness, unix_ms};
use crate::tier::{Found, Looked, Stamps};
use crate::{Key, Tag, Value};

/// Bytes for each entry the settings allow: a larger one takes the place of several, so that a thousand entries are 16
/// MiB at most.
const BYTES_AN_ENTRY: u64 = 16 * 1024;
/// What an entry weighs at least, in bytes: no more entries than the settings allow, however small they are.
const LEAST_BYTES: u64 = BYTES_AN_ENTRY;

/// An entry as it was found, by this machine's clock.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) value: Value,
    pub(super) stamps: Stamps,
    /// In milliseconds since 1970.
    pub(super) created_ms: u64,
    pub(super) fresh: Duration,
    pub(super) stale: Duration,
}

impl Held {
    /// What a look finds now, if its time is not over.
    pub(super) fn looked(&self) -> Option<Looked> {
        let found = |age| Found { value: self.value.clone(), age };
        match freshness(self.created_ms, self.fresh, self.stale, unix_ms()) {
            Freshness::Fresh(age) => Some(Looked::Fresh(found(age))),
            Freshness::Stale(age) => Some(Looked::Stale(found(age), self.stamps.clone())),
            Freshness::Over => None,
        }
    }

    /// Whether its stamps are about these tags and no others.
    pub(super) fn is_about(&self, tags: &[Tag]) -> bool {
        let stamped = |cell: usize| self.stamps.epochs.iter().any(|(other, _)| usize::from(*other) == cell);
        let tagged = |(cell, _): &(u16, u64)| tags.iter().any(|tag| tag.cell() == usize::from(*cell));
        tags.iter().all(|tag| stamped(tag.cell())) && self.stamps.epochs.iter().all(tagged)
    }
}

/// The entries. Those that are asked for often stay (moka: TinyLFU).
#[derive(Debug)]
pub(super) struct Memory(Cache<Key, Arc<Held>>);

impl Memory {
    /// Room for `entries` of them; for none if it is 0.
    pub(super) fn new(entries: u32) -> Self {
        let weigh = |_: &Key, held: &Arc<Held>| {
            let bytes = (held.value.len() + held.stamps.epochs.len() * size_of::<(u16, u64)>()) as u64;
            u32::try_from(bytes.max(LEAST_BYTES)).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(u64::from(entries) * BYTES_AN_ENTRY).weigher(weigh).build())
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Held>> {
        self.0.get(key)
    }

    pub(super) fn put(&self, key: Key, held: Arc<Held>) {
        self.0.insert(key, held);
    }

    pub(super) fn remove(&self, key: &Key) {
        self.0.invalidate(key);
    }

    pub(super) fn clear(&self) {
        self.0.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn held(bytes: usize) -> Arc<Held> {
        let value = Value::Error(Bytes::from(vec![b'x'; bytes]));
        let stamps = Stamps::of(1, &[Tag::new("a"), Tag::new("b")], |_| 0);
        let (fresh, stale) = (Duration::from_secs(60), Duration::ZERO);
        Arc::new(Held { value, stamps, created_ms: unix_ms(), fresh, stale })
    }

    #[test]
    fn it_holds_as_many_entries_as_allowed_and_fewer_large_ones() {
        for (bytes, least, most) in [(10, 80, 100), (BYTES_AN_ENTRY as usize * 4, 15, 25)] {
            let memory = Memory::new(100);
            for number in 0_u32..400 {
                memory.put(Key::of(&[&number.to_le_bytes()]), held(bytes));
            }
            memory.0.run_pending_tasks();
            let count = memory.0.entry_count();
            assert!((least..=most).contains(&count), "{count} entries of {bytes} bytes");
        }
        let none = Memory::new(0);
        none.put(Key::of(&[b"k"]), held(10));
        none.0.run_pending_tasks();
        assert_eq!(none.0.entry_count(), 0);
    }

    #[test]
    fn an_entry_is_about_its_own_tags() {
        let tags = |names: &[&str]| names.iter().map(|name| Tag::new(name)).collect::<Vec<_>>();
        let held = held(1);
        assert!(held.is_about(&tags(&["b", "a", "a"])));
        assert!(!held.is_about(&tags(&["a"])) && !held.is_about(&tags(&["a", "b", "c"])));
    }
}

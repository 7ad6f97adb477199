//! What the cache's keys in Redis are called.

use crate::Key;

/// The names of everything one store keeps in Redis. The part in braces puts all of it into one hash slot, so that one script may
/// touch an entry, its lease and the epochs (Redis cluster specification, "Hash tags").
#[derive(Debug, Clone)]
pub(super) struct Keys {
    base: String,
    /// Hash: a field for each cell that was ever bumped, and [`INCARNATION`].
    pub(super) epochs: String,
    /// The last fencing token given.
    pub(super) fence: String,
    /// Channel of the bumps; no key, so it needs no slot and begins with the prefix itself.
    pub(super) bumps: String,
}

/// Field of the epochs: the random number that says which set of epochs they are.
pub(super) const INCARNATION: &str = "inc";

/// So much of the hash of the store's id names it, in hexadecimal digits.
const STORE_DIGITS: usize = 16;

impl Keys {
    /// The names below `prefix` for the store of that id.
    pub(super) fn new(prefix: &str, store_id: &str) -> Self {
        let hash = blake3::hash(store_id.as_bytes()).to_hex();
        let store = hash.get(..STORE_DIGITS).unwrap_or_default();
        let base = format!("{{{prefix}:{store}}}:");
        Self {
            epochs: format!("{base}epochs"),
            fence: format!("{base}fence"),
            bumps: format!("{prefix}:{store}:bumps"),
            base,
        }
    }

    /// Where the entry of a key lies.
    pub(super) fn entry(&self, key: &Key) -> String {
        format!("{}e:{key}", self.base)
    }

    /// Where the lease of a key lies.
    pub(super) fn lease(&self, key: &Key) -> String {
        format!("{}l:{key}", self.base)
    }

    /// Matches every entry of the store, for SCAN.
    pub(super) fn every_entry(&self) -> String {
        // The prefix may hold no character that is special to SCAN (`redis.prefix`).
        format!("{}e:*", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_a_store_share_what_is_hashed_and_no_two_stores_do() {
        let keys = Keys::new("task-mcp", "files:/srv/a");
        let tag = |name: &str| name.split_once('}').unwrap().0.to_owned();
        let key = Key::of(&[b"k"]);
        for name in [&keys.fence, &keys.entry(&key), &keys.lease(&key), &keys.every_entry()] {
            assert_eq!(tag(name), tag(&keys.epochs));
        }
        assert!(keys.epochs.starts_with("{task-mcp:"));
        assert_ne!(keys.epochs, Keys::new("task-mcp", "files:/srv/b").epochs);
        assert_ne!(keys.epochs, Keys::new("other", "files:/srv/a").epochs);
    }
}

//! Which sessions this process has said to be in use, and when: so that it does not say so with every request.

use std::collections::HashMap;
use std::mem;

/// How many a process remembers, in two halves. What is forgotten is said again too soon, which is all it costs.
const HALF: usize = 8_192;

/// Remembers for a while, within a bound: what is older than both halves is forgotten.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Until when each need not be said again, in milliseconds since the Unix epoch.
    now: HashMap<[u8; 16], u64>,
    before: HashMap<[u8; 16], u64>,
    /// When what is in `now` is moved to `before`, whether it is full or not.
    turns_ms: u64,
}

impl Seen {
    /// Whether the session was said to be in use so lately that it need not be said again.
    pub(super) fn is_known(&self, id: &[u8; 16], now_ms: u64) -> bool {
        self.now.get(id).or_else(|| self.before.get(id)).is_some_and(|until_ms| now_ms < *until_ms)
    }

    /// Remembers that it need not be said again for `for_ms`.
    pub(super) fn remember(&mut self, id: [u8; 16], now_ms: u64, for_ms: u64) {
        if self.now.len() >= HALF || now_ms >= self.turns_ms {
            self.before = mem::take(&mut self.now);
            self.turns_ms = now_ms.saturating_add(for_ms);
        }
        self.now.insert(id, now_ms.saturating_add(for_ms));
    }

    /// Forgets a session that has ended.
    pub(super) fn forget(&mut self, id: &[u8; 16]) {
        self.now.remove(id);
        self.before.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> [u8; 16] {
        number.to_be_bytes()
    }

    #[test]
    fn what_is_remembered_is_known_for_its_time() {
        let mut seen = Seen::default();
        seen.remember(id(1), 1_000, 100);
        assert!(seen.is_known(&id(1), 1_099) && !seen.is_known(&id(1), 1_100) && !seen.is_known(&id(2), 1_000));
        seen.remember(id(2), 1_150, 100);
        assert!(seen.is_known(&id(2), 1_249));
        seen.forget(&id(2));
        assert!(!seen.is_known(&id(2), 1_150));
    }

    #[test]
    fn it_never_holds_more_than_its_bound_and_lets_go_of_what_is_old() {
        let mut seen = Seen::default();
        for number in 0..10 * HALF as u128 {
            seen.remember(id(number), 1, 1_000);
            assert!(seen.now.len() + seen.before.len() <= 2 * HALF);
            assert!(seen.is_known(&id(number.saturating_sub(HALF as u128 - 1)), 1), "the last ones are known");
        }
        seen.remember(id(0), 2_000, 1_000);
        seen.remember(id(1), 4_000, 1_000);
        assert_eq!((seen.now.len(), seen.before.len()), (1, 1));
    }
}

//! Rate limits over all processes of an instance: the generic cell rate algorithm (GCRA, ITU-T I.371), which needs one number for
//! each principal, the time at which all it has sent would be due if it had kept its rate: the theoretical arrival time.
//!
//! 4096 rows of 8 words, each row a cache line. A key has the row key mod 4096; there it has the word with its tag, the upper
//! 16 bits of the key. A word holds tag and theoretical arrival time, the latter in microseconds of CLOCK_MONOTONIC (48 bits,
//! nine years), so that one compare-and-exchange both charges a request and proves that the word is still the key's:
//!
//! - The time of a word that lies in the past says no more than an empty word does: any key may take it.
//! - In a row whose words are all in use, a further key shares the last one. It is limited by what both send: more than it should
//!   be, never less.
//! - Two keys of one row and one tag share a word in the same way. Of two keys that is one pair in 2^28.
//!
//! Any process writes any word at any moment; a process that dies leaves its words as they are, and they are past by themselves.
//! When two processes take words for one key while a third word of the row falls free, both words may stay: one request more than
//! the limit passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::Region;

pub(super) const WORDS: usize = ROWS * ROW_WORDS;
const ROWS: usize = 4096;
const ROW_WORDS: usize = 8;
const TIME_BITS: u32 = 48;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// The rate limits. Cloning is cheap and shares the mapping.
#[derive(Debug, Clone)]
pub struct Rates {
    region: Arc<Region>,
    at: usize,
}

/// How much a principal may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// A request is given back after so long, in microseconds; not 0.
    pub period_us: u64,
    /// Requests at once; not 0.
    pub burst: u64,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rated {
    /// It is within the limit.
    Allowed {
        /// So many more may be sent at once.
        remaining: u64,
        /// When as much may be sent at once as ever, in microseconds from now.
        reset_us: u64,
    },
    /// It is one too many, and was not charged.
    Refused {
        /// When the same request is within the limit, in microseconds from now.
        retry_us: u64,
        /// As above.
        reset_us: u64,
    },
}

impl Quota {
    /// The time for which a whole burst counts, in microseconds.
    fn window_us(self) -> u64 {
        self.period_us.max(1).saturating_mul(self.burst.max(1)).min(TIME_MASK / 2)
    }

    /// What becomes of `cost` requests at `now_us` by whoever has this theoretical arrival time, and the time then.
    ///
    /// A time beyond the window, left by another quota, is brought down to it: whoever was given more is not held to less.
    pub fn judge(self, arrival_us: u64, now_us: u64, cost: u64) -> (Rated, u64) {
        let window_us = self.window_us();
        let due_us = arrival_us.clamp(now_us, now_us.saturating_add(window_us));
        let next_us = due_us.saturating_add(self.period_us.max(1).saturating_mul(cost));
        let ahead_us = next_us - now_us;
        if ahead_us > window_us {
            return (Rated::Refused { retry_us: ahead_us - window_us, reset_us: due_us - now_us }, due_us);
        }
        let remaining = (window_us - ahead_us) / self.period_us.max(1);
        (Rated::Allowed { remaining, reset_us: ahead_us }, next_us)
    }
}

impl Rates {
    pub(super) fn new(region: Arc<Region>, at: usize) -> Self {
        Self { region, at }
    }

    /// Charges `cost` requests of `key` at `now_us` ([`monotonic_us`](crate::monotonic_us)), if they are within `quota`. The key
    /// is a hash whose bits are evenly spread, and secret enough that nobody can choose to share another's.
    pub fn check(&self, key: u64, now_us: u64, quota: Quota, cost: u64) -> Rated {
        let tag = (key >> TIME_BITS).max(1) << TIME_BITS;
        let row = self.at + (key % ROWS as u64) as usize * ROW_WORDS;
        loop {
            let (index, is_new) = self.place(row, tag, now_us);
            let Some(word) = self.region.word(row + index) else {
                // There is no such row; whoever asks is held back rather than not limited.
                return Rated::Refused { retry_us: quota.period_us, reset_us: quota.period_us };
            };
            let seen = word.load(Ordering::SeqCst);
            let arrival_us = if is_new { 0 } else { seen & TIME_MASK };
            if is_new && !is_free(seen, now_us) {
                continue;
            }
            // A word that is shared keeps the tag of the key that has it.
            let kept = if is_new || seen & !TIME_MASK == tag { tag } else { seen & !TIME_MASK };
            let (rated, next_us) = quota.judge(arrival_us, now_us, cost);
            if matches!(rated, Rated::Refused { .. }) {
                return rated;
            }
            if !exchange(word, seen, kept | next_us.min(TIME_MASK)) {
                continue;
            }
            if is_new && (row..row + index).any(|at| self.tag(at) == tag) {
                // Another process took a word for the same key meanwhile: that one counts.
                continue;
            }
            return rated;
        }
    }

    /// Where a key's word is, or may be: its place in the row, and whether it begins anew there.
    fn place(&self, row: usize, tag: u64, now_us: u64) -> (usize, bool) {
        let mut free = None;
        for index in 0..ROW_WORDS {
            let word = self.load(row + index);
            if word & !TIME_MASK == tag {
                return (index, false);
            }
            if free.is_none() && is_free(word, now_us) {
                free = Some(index);
            }
        }
        free.map_or((ROW_WORDS - 1, false), |index| (index, true))
    }

    fn tag(&self, at: usize) -> u64 {
        self.load(at) & !TIME_MASK
    }

    fn load(&self, at: usize) -> u64 {
        self.region.word(at).map_or(0, |word| word.load(Ordering::SeqCst))
    }
}

fn is_free(word: u64, now_us: u64) -> bool {
    word & TIME_MASK <= now_us
}

fn exchange(word: &AtomicU64, seen: u64, new: u64) -> bool {
    word.compare_exchange(seen, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashMap;
    use std::sync::Barrier;

    use proptest::prelude::*;

    use super::*;
    use crate::Commons;

    const QUOTA: Quota = Quota { period_us: 1_000, burst: 5 };

    fn allowed(rated: Rated) -> bool {
        matches!(rated, Rated::Allowed { .. })
    }

    #[test]
    fn a_burst_passes_then_one_for_each_period() {
        let rates = Commons::create().unwrap().rates();
        for remaining in (0..5).rev() {
            let reset_us = (5 - remaining) * 1_000;
            assert_eq!(rates.check(1 << 60, 10_000, QUOTA, 1), Rated::Allowed { remaining, reset_us });
        }
        assert_eq!(rates.check(1 << 60, 10_000, QUOTA, 1), Rated::Refused { retry_us: 1_000, reset_us: 5_000 });
        assert_eq!(rates.check(1 << 60, 10_400, QUOTA, 1), Rated::Refused { retry_us: 600, reset_us: 4_600 });
        assert_eq!(rates.check(1 << 60, 11_000, QUOTA, 1), Rated::Allowed { remaining: 0, reset_us: 5_000 });
        assert!(!allowed(rates.check(1 << 60, 11_999, QUOTA, 1)), "what is refused costs nothing and gives nothing");
        assert_eq!(rates.check(1 << 60, 99_000, QUOTA, 5), Rated::Allowed { remaining: 0, reset_us: 5_000 });
        assert!(!allowed(rates.check(2 << 60, 0, QUOTA, 6)), "more than a burst never passes");
    }

    #[test]
    fn another_quota_is_in_force_at_once() {
        let rates = Commons::create().unwrap().rates();
        let slow = Quota { period_us: 60_000_000, burst: 5 };
        assert!(allowed(rates.check(7 << 50, 1, slow, 5)));
        let Rated::Refused { retry_us, .. } = rates.check(7 << 50, 1, QUOTA, 1) else { unreachable!() };
        assert_eq!(retry_us, 1_000, "it waits as long as under the new quota");
    }

    #[test]
    fn a_key_without_a_word_of_its_own_shares_the_last_and_is_limited_more() {
        let rates = Commons::create().unwrap().rates();
        let key = |number: u64| number << TIME_BITS | 3;
        for number in 1..=8 {
            assert!(allowed(rates.check(key(number), 0, QUOTA, 3)));
        }
        assert!(allowed(rates.check(key(9), 0, QUOTA, 2)));
        assert!(!allowed(rates.check(key(9), 0, QUOTA, 1)) && !allowed(rates.check(key(8), 0, QUOTA, 1)));
        assert!(allowed(rates.check(key(1), 0, QUOTA, 2)), "the others have what is theirs");
        assert!(allowed(rates.check(key(9), 5_000, QUOTA, 5)), "a word that is past is anybody's");
    }

    #[test]
    fn of_many_threads_never_more_than_the_limit_pass() {
        const THREADS: usize = 4;
        const EACH: usize = 2_000;
        let commons = Commons::create().unwrap();
        for round in 0..20_u64 {
            // Keys of one row, so that the threads also take words beside each other.
            let keys = [round << 52 | 1 << 50 | 9, round << 52 | 1 << 49 | 9];
            let now_us = round * 100_000_000;
            // Half of what they ask for.
            let quota = Quota { period_us: 1_000, burst: (THREADS * EACH / 2) as u64 };
            let start = Barrier::new(THREADS);
            let passed = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS)
                    .map(|_| {
                        let rates = Commons::open(commons.try_clone_fd().unwrap()).unwrap().rates();
                        let start = &start;
                        scope.spawn(move || {
                            start.wait();
                            let pass = |key| (0..EACH).filter(|_| allowed(rates.check(key, now_us, quota, 1))).count();
                            keys.map(pass)
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .fold([0, 0], |sum, one| [sum[0] + one[0], sum[1] + one[1]])
            });
            assert_eq!(passed, [THREADS * EACH / 2; 2], "round {round}");
        }
    }

    proptest! {
        /// A few keys in rows of their own do what a map of buckets does that are filled by time and emptied by requests.
        #[test]
        fn it_is_a_leaky_bucket(steps in prop::collection::vec((0_u64..4, 0_u64..4_000, 1_u64..4), 1..200)) {
            let rates = Commons::create().unwrap().rates();
            let mut levels: HashMap<u64, (u64, u64)> = HashMap::new();
            let mut now_us = 1;
            for (key, passed_us, cost) in steps {
                now_us += passed_us;
                // Microseconds of work that wait, and when that was.
                let (level, at_us) = levels.get(&key).copied().unwrap_or((0, now_us));
                let level = level.saturating_sub(now_us - at_us);
                let fits = level + cost * QUOTA.period_us <= QUOTA.burst * QUOTA.period_us;
                let charged = if fits { level + cost * QUOTA.period_us } else { level };
                levels.insert(key, (charged, now_us));
                let rated = rates.check(key << 50 | key, now_us, QUOTA, cost);
                prop_assert_eq!(allowed(rated), fits);
                match rated {
                    Rated::Allowed { remaining, reset_us } => {
                        prop_assert_eq!((remaining, reset_us), ((5_000 - charged) / 1_000, charged));
                    }
                    Rated::Refused { retry_us, reset_us } => {
                        prop_assert_eq!((retry_us, reset_us), (level + cost * 1_000 - 5_000, level));
                    }
                }
            }
        }
    }
}

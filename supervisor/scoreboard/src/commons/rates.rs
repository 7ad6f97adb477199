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
//!
//! When two processes take words for one key while a third word of the row falls free, a key has two words. What counts is the sum of
//! what both owe, so a second word gives nothing. One thing remains: who has looked at the row and stops before it writes does not
//! see what is written to the other word meanwhile. Each process may so let one request too many pass when that happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::Region;

pub(super) const WORDS: usize = ROWS * ROW_WORDS;
const ROWS: usize = 4096;
const ROW_WORDS: usize = 8;
const TIME_BITS: u32 = 48;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
/// A time beyond the window by more than this is another quota's. Less may be a process that looked at the clock and then stood
/// still, in microseconds.
const LAG_US: u64 = 1_000_000;

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
    /// A time beyond the window by more than a second was left by another quota and is brought down to the window: whoever was
    /// given more is not held to less. The time that is returned says so also for who is refused, and is to be kept: otherwise it
    /// would be brought down anew each time, and never pass.
    pub fn judge(self, arrival_us: u64, now_us: u64, cost: u64) -> (Rated, u64) {
        let window_us = self.window_us();
        let end_us = now_us.saturating_add(window_us);
        let due_us = if arrival_us > end_us.saturating_add(LAG_US) { end_us } else { arrival_us.max(now_us) };
        let next_us = due_us.saturating_add(self.period_us.max(1).saturating_mul(cost));
        let ahead_us = next_us - now_us;
        if ahead_us > window_us {
            return (Rated::Refused { retry_us: ahead_us - window_us, reset_us: due_us - now_us }, due_us);
        }
        let remaining = (window_us - ahead_us) / self.period_us.max(1);
        (Rated::Allowed { remaining, reset_us: ahead_us }, next_us)
    }
}

/// A payer's row as one look found it.
#[derive(Debug, Clone, Copy)]
struct View {
    /// The place of the word that is charged, and the word.
    index: usize,
    seen: u64,
    /// The word is free, and the key begins anew there.
    is_new: bool,
    /// What further words of the key owe, in microseconds.
    elsewhere_us: u64,
}

impl Rates {
    pub(super) fn new(region: Arc<Region>, at: usize) -> Self {
        Self { region, at }
    }

    /// Charges `cost` requests of `key` at `now_us` ([`monotonic_us`](crate::monotonic_us)), if they are within `quota`. The key
    /// is a hash whose bits are evenly spread, and secret enough that nobody can choose to share another's.
    pub fn check(&self, key: u64, now_us: u64, quota: Quota, cost: u64) -> Rated {
        let (row, tag) = self.find(key);
        loop {
            let Some(view) = self.look(row, tag, now_us) else {
                // There is no such row; whoever asks is held back rather than not limited.
                return Rated::Refused { retry_us: quota.period_us, reset_us: quota.period_us };
            };
            if let Some(rated) = self.charge(row, tag, view, now_us, quota, cost) {
                return rated;
            }
        }
    }

    /// Takes back what [`check`](Self::check) charged at `now_us`, because a limit over more than this machine refused it for
    /// `retry_us`. As long as that lasts, it is refused here too.
    pub fn refused_elsewhere(&self, key: u64, now_us: u64, quota: Quota, cost: u64, retry_us: u64) {
        let (row, tag) = self.find(key);
        let cost_us = quota.period_us.max(1).saturating_mul(cost);
        while let Some(view) = self.look(row, tag, now_us) {
            let Some(word) = self.region.word(row + view.index) else { return };
            let own_us = if view.is_new { now_us } else { view.seen & TIME_MASK };
            let refusing_us = now_us.saturating_add(quota.window_us().saturating_add(retry_us).saturating_sub(cost_us));
            let next_us = own_us.saturating_sub(cost_us).max(refusing_us.saturating_sub(view.elsewhere_us));
            if exchange(word, view.seen, view.kept(tag) | next_us.min(TIME_MASK)) {
                return;
            }
        }
    }

    /// The first word of a key's row, and its tag there.
    fn find(&self, key: u64) -> (usize, u64) {
        (self.at + (key % ROWS as u64) as usize * ROW_WORDS, (key >> TIME_BITS).max(1) << TIME_BITS)
    }

    /// Looks at a key's row; `None` if there is none.
    fn look(&self, row: usize, tag: u64, now_us: u64) -> Option<View> {
        let (mut own, mut free, mut last, mut elsewhere_us) = (None, None, 0, 0_u64);
        for index in 0..ROW_WORDS {
            let word = self.region.word(row + index)?.load(Ordering::SeqCst);
            if word & !TIME_MASK != tag {
                free = free.or_else(|| is_free(word, now_us).then_some((index, word)));
            } else if own.is_none() {
                own = Some((index, word));
            } else {
                elsewhere_us = elsewhere_us.saturating_add((word & TIME_MASK).saturating_sub(now_us));
            }
            last = word;
        }
        let is_new = own.is_none() && free.is_some();
        let (index, seen) = own.or(free).unwrap_or((ROW_WORDS - 1, last));
        Some(View { index, seen, is_new, elsewhere_us })
    }

    /// Charges a key whose row was seen so; `None` if the word has changed since.
    fn charge(&self, row: usize, tag: u64, view: View, now_us: u64, quota: Quota, cost: u64) -> Option<Rated> {
        let word = self.region.word(row + view.index)?;
        let own_us = if view.is_new { now_us } else { (view.seen & TIME_MASK).max(now_us) };
        let arrival_us = own_us.saturating_add(view.elsewhere_us);
        let (rated, next_us) = quota.judge(arrival_us, now_us, cost);
        if matches!(rated, Rated::Refused { .. }) {
            if next_us < arrival_us {
                exchange(word, view.seen, view.kept(tag) | next_us.min(TIME_MASK)).then_some(())?;
                self.forget(row, tag, view.index);
            }
            return Some(rated);
        }
        let charged = view.kept(tag) | next_us.saturating_sub(view.elsewhere_us).min(TIME_MASK);
        exchange(word, view.seen, charged).then_some(())?;
        if !view.is_new {
            return Some(rated);
        }
        // Another process may have taken a word for the same key meanwhile: what that one owes counts too.
        let elsewhere_us = self.owed_elsewhere(row, tag, view.index, now_us);
        let (rated, _) = quota.judge(now_us.saturating_add(elsewhere_us), now_us, cost);
        if matches!(rated, Rated::Refused { .. }) {
            // If somebody else has charged this word already, it stays: a request too few rather than too many.
            exchange(word, charged, 0);
        }
        Some(rated)
    }

    /// What words of the key owe except the one at this place, in microseconds.
    fn owed_elsewhere(&self, row: usize, tag: u64, except: usize, now_us: u64) -> u64 {
        let words = (0..ROW_WORDS).filter(|index| *index != except).filter_map(|index| self.region.word(row + index));
        let own = words.map(|word| word.load(Ordering::SeqCst)).filter(|word| word & !TIME_MASK == tag);
        own.fold(0, |sum, word| sum.saturating_add((word & TIME_MASK).saturating_sub(now_us)))
    }

    /// Frees words of the key except the one at this place. One that is charged in this moment stays.
    fn forget(&self, row: usize, tag: u64, except: usize) {
        for word in (0..ROW_WORDS).filter(|index| *index != except).filter_map(|index| self.region.word(row + index)) {
            let seen = word.load(Ordering::SeqCst);
            if seen & !TIME_MASK == tag {
                exchange(word, seen, 0);
            }
        }
    }
}

impl View {
    /// The tag that the word has once it is charged. One that is shared keeps that of the key that has it.
    fn kept(self, tag: u64) -> u64 {
        if self.is_new { tag } else { self.seen & !TIME_MASK }
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
    fn whoever_is_told_when_to_come_again_passes_then_whatever_the_quota_was() {
        let rates = Commons::create().unwrap().rates();
        let (old, new) = (Quota { period_us: 1_000_000, burst: 100 }, Quota { period_us: 10_000, burst: 5 });
        assert!(allowed(rates.check(7 << 50, 1, old, 100)));
        let mut now_us = 1;
        for _ in 0..3 {
            let Rated::Refused { retry_us, .. } = rates.check(7 << 50, now_us, new, 1) else { unreachable!() };
            assert_eq!(retry_us, 10_000);
            now_us += retry_us;
            assert!(allowed(rates.check(7 << 50, now_us, new, 1)));
        }
        // Within a second it may be a clock that was looked at long ago: then nothing is given back, and what is told is true.
        let late_us = now_us - 500_000_u64.min(now_us);
        let Rated::Refused { retry_us, .. } = rates.check(7 << 50, late_us, new, 1) else { unreachable!() };
        assert!(!allowed(rates.check(7 << 50, now_us, new, 1)));
        assert!(allowed(rates.check(7 << 50, late_us + retry_us, new, 1)));
    }

    #[test]
    fn two_words_of_a_key_owe_together_and_a_process_that_stood_still_gives_nothing() {
        let rates = Commons::create().unwrap().rates();
        let (key, other) = (5 << TIME_BITS, 6 << TIME_BITS);
        let (row, tag) = rates.find(key);
        assert!(allowed(rates.check(other, 0, QUOTA, 2)), "the first place is another's until 2,000");
        let stands_still = rates.look(row, tag, 2_000).unwrap();
        assert_eq!((stands_still.index, stands_still.is_new), (0, true));
        assert!(allowed(rates.check(key, 1_999, QUOTA, 5)), "the second place, for an earlier clock");
        let rated = rates.charge(row, tag, stands_still, 2_000, QUOTA, 1).unwrap();
        assert_eq!(rated, Rated::Refused { retry_us: 999, reset_us: 4_999 });
        assert!(!allowed(rates.check(key, 2_000, QUOTA, 1)));
        // If what it charged stays, because another charged the same word, nothing is won either.
        rates.region.word(row).unwrap().store(tag | 3_000, Ordering::SeqCst);
        assert!(!allowed(rates.check(key, 2_000, QUOTA, 1)));
        assert!(allowed(rates.check(key, 4_500, QUOTA, 1)), "the first is past then, the second owes 2,499");
        assert_eq!(rates.check(key, 4_500, QUOTA, 2), Rated::Refused { retry_us: 499, reset_us: 3_499 });
    }

    #[test]
    fn what_is_refused_elsewhere_is_not_charged_and_is_refused_here_as_long() {
        let rates = Commons::create().unwrap().rates();
        assert!(allowed(rates.check(9, 1_000, QUOTA, 1)));
        rates.refused_elsewhere(9, 1_000, QUOTA, 1, 300);
        assert_eq!(rates.check(9, 1_000, QUOTA, 1), Rated::Refused { retry_us: 300, reset_us: 4_300 });
        assert!(allowed(rates.check(9, 1_300, QUOTA, 1)));
        rates.refused_elsewhere(9, 1_300, QUOTA, 1, 0);
        assert!(allowed(rates.check(9, 1_300, QUOTA, 1)), "it was given back, and nothing is to be waited for");
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

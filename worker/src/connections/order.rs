//! Which connections would give way to a new one, in order, so that at the limit nobody looks at all of them.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long a client that has just connected may take to say what it wants before it counts as idle, in microseconds.
pub(super) const GREETING_US: u64 = 1_000_000;

/// The connections of a worker that serve nothing, and those that serve something in a place that another has. A connection is put
/// here and taken out when a request of it begins or ends, which costs a request two steps in a tree.
#[derive(Debug, Default)]
pub(crate) struct Order(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    /// By the time since when, and by number.
    waiting: BTreeSet<(u64, u64)>,
    greeting: BTreeSet<(u64, u64)>,
    returned: BTreeSet<u64>,
}

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// It waits for a further request, since then or later; since 0 if it closes anyway.
    Waiting(u64),
    /// It has had no request since it connected, which was then or later.
    Greeting(u64),
    /// It serves a request, and its place was given to another.
    Returned,
}

impl Order {
    /// Moves a connection.
    pub(super) fn change(&self, number: u64, from: Option<Slot>, to: Option<Slot>) {
        let mut lists = self.lists();
        match from {
            Some(Slot::Waiting(since_us)) => _ = lists.waiting.remove(&(since_us, number)),
            Some(Slot::Greeting(since_us)) => _ = lists.greeting.remove(&(since_us, number)),
            Some(Slot::Returned) => _ = lists.returned.remove(&number),
            None => {}
        }
        match to {
            Some(Slot::Waiting(since_us)) => _ = lists.waiting.insert((since_us, number)),
            Some(Slot::Greeting(since_us)) => _ = lists.greeting.insert((since_us, number)),
            Some(Slot::Returned) => _ = lists.returned.insert(number),
            None => {}
        }
    }

    /// The first of those that serve nothing and have had time to say what they want: since when, and their numbers.
    pub(super) fn first(&self, most: usize, now_us: u64) -> Vec<(u64, u64)> {
        let lists = self.lists();
        let greeted = lists.greeting.range(..=(now_us.saturating_sub(GREETING_US), u64::MAX));
        let mut first: Vec<_> = lists.waiting.iter().take(most).chain(greeted.take(most)).copied().collect();
        drop(lists);
        first.sort_unstable();
        first.truncate(most);
        first
    }

    /// Those that serve something, and whose place others have.
    pub(super) fn returned(&self) -> Vec<u64> {
        self.lists().returned.iter().copied().collect()
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What a shared tier does. Each backend is one; all pass one suite of contract tests.

use std::future::Future;
use std::time::Duration;

use task_mcp_telemetry::CacheFault;

use crate::{Key, Tag, Value};

/// What the epochs of some tags were at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamps {
    /// Which set of epochs these are numbers of; never 0.
    pub(crate) incarnation: u64,
    /// Cell and epoch of each tag, by cell, without repetition.
    pub(crate) epochs: Vec<(u16, u64)>,
}

impl Stamps {
    /// What `epoch_of` says of the cells of these tags.
    pub(crate) fn of(incarnation: u64, tags: &[Tag], mut epoch_of: impl FnMut(usize) -> u64) -> Self {
        let mut cells: Vec<_> = tags.iter().map(Tag::cell).collect();
        cells.sort_unstable();
        cells.dedup();
        let stamp = |cell: usize| Some((u16::try_from(cell).ok()?, epoch_of(cell)));
        Self { incarnation, epochs: cells.into_iter().filter_map(stamp).collect() }
    }

    /// Whether a computation that began at these stamps knows of everything that `earlier` tells of.
    pub(crate) fn cover(&self, earlier: &Self) -> bool {
        let pairs = || self.epochs.iter().zip(&earlier.epochs);
        self.incarnation == earlier.incarnation
            && self.epochs.len() == earlier.epochs.len()
            && pairs().all(|((cell, now), (earlier_cell, then))| cell == earlier_cell && now >= then)
    }
}

/// What is kept under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    /// Taken before the computation began.
    pub(crate) stamps: Stamps,
    /// For people: the tool and what it was asked.
    pub(crate) name: String,
    /// When the computation ended, in milliseconds since 1970.
    pub(crate) created_ms: u64,
    /// From then on it is fresh for so long.
    pub(crate) fresh: Duration,
    /// After that it may be answered for so long while it is computed anew.
    pub(crate) stale: Duration,
}

/// An entry that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: Value,
    /// How long ago it was computed.
    pub(crate) age: Duration,
}

/// What a look at a key found.
#[derive(Debug, Clone)]
pub(crate) enum Looked {
    /// An entry all of whose tags are at its stamps, and whose time is not over.
    Fresh(Found),
    /// The same past its time, but not past its stale time; what is computed from now on carries these stamps.
    Stale(Found, Stamps),
    /// None; what is computed from now on carries these stamps.
    Nothing(Stamps),
    /// The tier cannot be asked or trusted now: what is computed is not kept.
    Untrusted,
}

/// What became of a wish to be the one who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lease {
    /// The caller computes, renews the lease, stores with its token and gives it back.
    Mine(Token),
    /// Another process computes; look again, at the latest when its lease ends.
    Held {
        /// Time left of the lease if it is not renewed.
        left: Duration,
        /// Whose it is: another number is another holder.
        holder: Token,
    },
    /// There is no lease to be had: the caller computes without.
    None,
}

/// Tells one lease from every other of its key; the number grows with each lease of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u64);

/// A shared tier. No operation takes longer than the budget of the settings; what fails is counted by the tier.
pub(crate) trait Tier: Send + Sync + 'static {
    /// Looks for an entry. On the hot path: no allocation but for what is copied out.
    fn look(&self, key: &Key, tags: &[Tag]) -> impl Future<Output = Looked> + Send;

    /// Asks to be the one who computes.
    fn lease(&self, key: &Key) -> impl Future<Output = Lease> + Send;

    /// Prolongs a lease; false if it is another's by now. Called every third of its time.
    fn renew(&self, key: &Key, token: Token) -> impl Future<Output = bool> + Send;

    /// Gives a lease back.
    fn release(&self, key: &Key, token: Token) -> impl Future<Output = ()> + Send;

    /// Keeps an entry, unless a tag has moved on or the lease is another's by now. Without a token there is no lease to lose.
    fn store(
        &self,
        key: &Key,
        entry: Entry,
        token: Option<Token>,
    ) -> impl Future<Output = Result<(), CacheFault>> + Send;

    /// Moves the epochs of tags on, here and for everybody who shares the tier.
    fn bump(&self, tags: &[Tag]) -> impl Future<Output = ()> + Send;

    /// Whether, while the tier is not trusted, somebody may write whom the local epochs do not know of.
    fn others_may_write(&self) -> bool {
        false
    }
}

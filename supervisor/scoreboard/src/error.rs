//! What can fail; each variant is a step.

/// Why shared memory could not be made or taken over.
#[derive(Debug, thiserror::Error)]
pub enum ScoreboardError {
    /// `memfd_create(2)` or giving it a size failed.
    #[error("cannot create {bytes} bytes of shared memory")]
    Create {
        /// The size asked for, in bytes.
        bytes: u64,
        /// The system's reason.
        source: rustix::io::Errno,
    },
    /// The size could not be sealed, or the seals of an inherited descriptor could not be read.
    #[error("cannot seal or read the seals of shared memory")]
    Seal(#[source] rustix::io::Errno),
    /// The descriptor is not a memfd of fixed size; mapping it would not be safe.
    #[error("the inherited descriptor is not sealed shared memory of ours")]
    Unsealed,
    /// The size of an inherited descriptor could not be read.
    #[error("cannot read the size of shared memory")]
    Size(#[source] rustix::io::Errno),
    /// `mmap(2)` failed.
    #[error("cannot map {bytes} bytes of shared memory")]
    Map {
        /// The size of the mapping, in bytes.
        bytes: u64,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The descriptor could not be duplicated.
    #[error("cannot duplicate the descriptor of shared memory")]
    Duplicate(#[source] std::io::Error),
    /// The memory does not start with our mark.
    #[error("the inherited descriptor holds something else than {expected}")]
    Magic {
        /// What was expected there.
        expected: &'static str,
    },
    /// The memory was laid out by another version.
    #[error("shared memory has layout version {found}, this program knows {known} and the one before")]
    Version {
        /// Version found.
        found: u64,
        /// Newest version known.
        known: u64,
    },
    /// The header, the directory and the size of the memory disagree.
    #[error("shared memory is inconsistent: {what} is {found}, expected {expected}")]
    Inconsistent {
        /// Which number.
        what: &'static str,
        /// The number found.
        found: u64,
        /// The number that follows from the rest.
        expected: u64,
    },
    /// The directory of series could not be written or read.
    #[error("the directory of metric series is not readable")]
    Directory(#[from] serde_json::Error),
    /// A plan or a directory asks for more than the fixed limits.
    #[error("{what}: {found} is over the limit of {limit}")]
    Limit {
        /// Which quantity.
        what: &'static str,
        /// What was asked for.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A series is not usable.
    #[error("metric series {name:?} is not valid: {reason}")]
    Series {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

//! What a store needs from its process; others provide it.

/// The epoch of the tree: a number all processes share and every write moves on.
pub trait EpochSource: Send + Sync {
    /// The present epoch. Two equal answers mean that no write happened in between.
    fn current(&self) -> u64;

    /// Moves the epoch on, before the writer answers.
    fn bump(&self);
}

/// A bounded pool for work that blocks.
pub trait Offload: Send + Sync {
    /// Queues a job, or refuses at once when the queue is full. A job that was taken runs even if nobody waits for it.
    ///
    /// # Errors
    /// The queue is full.
    fn submit(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), OffloadFull>;
}

/// The queue was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue of the pool is full")]
pub struct OffloadFull;

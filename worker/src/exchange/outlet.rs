//! What a client is told before the answer: messages, and pieces of a large result.

use actix_web::web::Bytes;
use tokio::sync::mpsc;

/// Messages that may wait for a client that reads slowly.
const WAITING_MAX: usize = 64;

/// Something for the client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Emission {
    /// A JSON-RPC message, compact JSON.
    Message(Bytes),
    /// A piece of the result, as text.
    Chunk(Bytes),
}

/// Where a call puts what its client is told before the answer. Cloning is cheap. A transport that can send nothing before the answer
/// hands in a closed one.
#[derive(Debug, Clone)]
pub(crate) struct Outlet(Option<mpsc::Sender<Emission>>);

/// The client is gone, or is never told anything before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

impl Outlet {
    /// An outlet, and what comes out of it.
    pub(crate) fn open() -> (Self, mpsc::Receiver<Emission>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(Some(sender)), receiver)
    }

    /// One that nobody listens to.
    pub(crate) fn closed() -> Self {
        Self(None)
    }

    /// Whether somebody listens.
    pub(crate) fn is_open(&self) -> bool {
        self.0.as_ref().is_some_and(|sender| !sender.is_closed())
    }

    /// Puts a message there if there is room: whoever reads too slowly misses it. Whether it was put there.
    pub(crate) fn push(&self, message: Bytes) -> bool {
        self.0.as_ref().is_some_and(|sender| sender.try_send(Emission::Message(message)).is_ok())
    }

    /// Puts something there as soon as there is room.
    ///
    /// # Errors
    /// Nobody listens.
    pub(crate) async fn send(&self, emission: Emission) -> Result<(), Closed> {
        match &self.0 {
            Some(sender) => sender.send(emission).await.map_err(|_| Closed),
            None => Err(Closed),
        }
    }
}

//! What a client is told before the answer: messages, and pieces of a large result.
//!
//! A queue with a bound in bytes. Whoever tells something never waits, and a client that lets the queue fill is cut; pieces of a
//! result wait until the client has read. An empty queue takes anything: one large message is no sign of a slow reader. A call that tells nothing pays for the queue's head alone.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use actix_web::web::Bytes;
use task_mcp_mcp::LogLevel;
use task_mcp_scoreboard::Counter;
use tokio::sync::Notify;

use crate::connections::entry::Entry;

/// Pieces of a result wait once so many bytes do: enough to keep a socket busy, and little to hold for one who does not read.
const PIECES_BYTES: usize = 64 << 10;
/// What one emission costs beyond its bytes, about.
const OVERHEAD_BYTES: usize = 64;

/// Something for the client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Emission {
    /// A JSON-RPC message, compact JSON.
    Message(Bytes),
    /// The same, of that level: for a client whose session knows which levels it wants to hear. Elsewhere what it does not want was
    /// left out before.
    Log(LogLevel, Bytes),
    /// A piece of the result, as text.
    Chunk(Bytes),
    /// A message that carries a piece of the result: it waits for the reader like one, and is not kept for those who come back.
    PieceMessage(Bytes),
    /// Bytes of the stream as they are sent.
    Framed(Bytes),
    /// The connection may be closed; the answer is fetched later.
    Release,
}

impl Emission {
    fn bytes(&self) -> usize {
        let content = match self {
            Self::Message(bytes)
            | Self::Log(_, bytes)
            | Self::Chunk(bytes)
            | Self::PieceMessage(bytes)
            | Self::Framed(bytes) => bytes.len(),
            Self::Release => 0,
        };
        content + OVERHEAD_BYTES
    }
}

/// What an outlet takes.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// What may wait for its client, in bytes (`limits.stream_buffer_bytes`).
    pub(crate) waiting_bytes: usize,
    /// Whether its client can be told messages before the answer.
    pub(crate) messages: bool,
    /// Longest text whose pieces are told on the way and that still stands in the result as a whole, in bytes (`limits.response_bytes`).
    pub(crate) result_bytes: usize,
    /// What is ended when the client lets the queue fill.
    pub(crate) connection: Option<Arc<Entry>>,
    /// Counts that.
    pub(crate) cut: Option<Counter>,
}

/// Where a call puts what its client is told before the answer. Cloning is cheap. A transport that can send nothing before the answer
/// hands in a closed one.
#[derive(Debug, Clone)]
pub(crate) struct Outlet(Option<Arc<Lane>>);

/// What comes out of an outlet. Dropping it tells the call that nobody listens any more.
#[derive(Debug)]
pub(crate) struct Emissions(Arc<Lane>);

#[derive(Debug)]
struct Lane {
    waiting: Mutex<Waiting>,
    /// There is room again, or nobody listens any more.
    moved: Notify,
    terms: Terms,
}

#[derive(Debug, Default)]
struct Waiting {
    emissions: VecDeque<Emission>,
    bytes: usize,
    /// Nothing more is taken: nobody listens.
    is_closed: bool,
    /// Nothing more will come.
    is_finished: bool,
    reader: Option<Waker>,
}

/// The client is gone, or is never told anything before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

impl Outlet {
    /// An outlet, and what comes out of it.
    pub(crate) fn open(terms: Terms) -> (Self, Emissions) {
        let lane = Arc::new(Lane { waiting: Mutex::default(), moved: Notify::new(), terms });
        (Self(Some(Arc::clone(&lane))), Emissions(lane))
    }

    /// One that nobody listens to.
    pub(crate) fn closed() -> Self {
        Self(None)
    }

    /// Whether somebody listens to messages.
    pub(crate) fn is_open(&self) -> bool {
        self.0.as_ref().is_some_and(|lane| lane.terms.messages && lane.lock().takes())
    }

    /// Whether pieces of a result can be sent.
    pub(crate) fn takes_pieces(&self) -> bool {
        self.0.is_some()
    }

    /// Longest text that is told in pieces and as a whole, in bytes.
    pub(crate) fn result_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |lane| lane.terms.result_bytes)
    }

    /// Puts a message there if its client hears messages. Whoever lets too much wait is cut. Whether it was put there.
    pub(crate) fn push(&self, message: Bytes) -> bool {
        self.put(Emission::Message(message))
    }

    /// The same for any emission that does not wait.
    pub(crate) fn put(&self, emission: Emission) -> bool {
        let Some(lane) = self.0.as_ref().filter(|lane| lane.terms.messages) else { return false };
        lane.put(emission)
    }

    /// Puts something there as soon as there is room.
    ///
    /// # Errors
    /// Nobody listens, or it was said that nothing more comes.
    pub(crate) async fn send(&self, emission: Emission) -> Result<(), Closed> {
        let lane = self.0.as_deref().ok_or(Closed)?;
        loop {
            // Before the look, so that room that is made after it is not missed.
            let mut moved = pin!(lane.moved.notified());
            moved.as_mut().enable();
            {
                let mut waiting = lane.lock();
                if !waiting.takes() {
                    return Err(Closed);
                }
                if waiting.bytes < PIECES_BYTES {
                    let reader = waiting.add(emission);
                    drop(waiting);
                    wake(reader);
                    return Ok(());
                }
            }
            moved.await;
        }
    }

    /// Says that nothing more will come; what is there is still read.
    pub(crate) fn finish(&self) {
        if let Some(lane) = &self.0 {
            let reader = {
                let mut waiting = lane.lock();
                waiting.is_finished = true;
                waiting.reader.take()
            };
            wake(reader);
            lane.moved.notify_waiters();
        }
    }

    /// Returns when nobody listens any more; never, if nobody ever did.
    pub(crate) async fn left(&self) {
        let Some(lane) = self.0.as_deref() else { return std::future::pending().await };
        loop {
            let mut moved = pin!(lane.moved.notified());
            moved.as_mut().enable();
            if lane.lock().is_closed {
                return;
            }
            moved.await;
        }
    }
}

impl Emissions {
    /// The next one; `None` once nothing more will come.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Emission>> {
        let emission = {
            let mut waiting = self.0.lock();
            match waiting.emissions.pop_front() {
                Some(emission) => {
                    waiting.bytes -= emission.bytes();
                    emission
                }
                None if waiting.is_finished || waiting.is_closed => return Poll::Ready(None),
                None => {
                    if !waiting.reader.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                        waiting.reader = Some(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
        };
        self.0.moved.notify_waiters();
        Poll::Ready(Some(emission))
    }
}

impl Drop for Emissions {
    fn drop(&mut self) {
        {
            let mut waiting = self.0.lock();
            waiting.is_closed = true;
            waiting.emissions = VecDeque::new();
            waiting.bytes = 0;
        }
        self.0.moved.notify_waiters();
    }
}

impl Lane {
    fn put(&self, emission: Emission) -> bool {
        let (reader, is_cut) = {
            let mut waiting = self.lock();
            if !waiting.takes() {
                return false;
            }
            if waiting.emissions.is_empty() || waiting.bytes + emission.bytes() <= self.terms.waiting_bytes {
                (waiting.add(emission), false)
            } else {
                waiting.is_closed = true;
                waiting.emissions = VecDeque::new();
                waiting.bytes = 0;
                (waiting.reader.take(), true)
            }
        };
        wake(reader);
        if is_cut {
            self.moved.notify_waiters();
            if let Some(cut) = &self.terms.cut {
                cut.add(1);
            }
            // Whoever does not read is not asked for more by the one who writes to it.
            if let Some(connection) = &self.terms.connection {
                connection.end();
            }
        }
        !is_cut
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn takes(&self) -> bool {
        !self.is_closed && !self.is_finished
    }

    fn add(&mut self, emission: Emission) -> Option<Waker> {
        self.bytes += emission.bytes();
        self.emissions.push_back(emission);
        self.reader.take()
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use futures_util::poll;
    use tokio::time::timeout;

    use super::*;

    fn terms(waiting_bytes: usize) -> Terms {
        Terms { waiting_bytes, messages: true, ..Terms::default() }
    }

    fn message(bytes: usize) -> Bytes {
        vec![b'x'; bytes].into()
    }

    async fn next(emissions: &mut Emissions) -> Option<Emission> {
        timeout(Duration::from_secs(10), poll_fn(|cx| emissions.poll_next(cx))).await.unwrap()
    }

    #[tokio::test]
    async fn who_lets_too_much_wait_is_cut_and_holds_nothing_more() {
        let (outlet, mut emissions) = Outlet::open(terms(1_000));
        assert!(outlet.push(message(400)) && outlet.push(message(400)));
        assert!(!outlet.push(message(400)), "it would be more than the limit");
        assert!(!outlet.is_open());
        assert_eq!(next(&mut emissions).await, None, "what waited is gone");
        assert_eq!(outlet.send(Emission::Release).await, Err(Closed));
        outlet.left().await;
        let (outlet, mut emissions) = Outlet::open(terms(1_000));
        for _ in 0..100 {
            assert!(outlet.push(message(900)));
            assert!(next(&mut emissions).await.is_some());
        }
        assert!(outlet.is_open(), "who reads is not cut");
    }

    #[tokio::test]
    async fn one_message_that_is_larger_than_what_may_wait_cuts_nobody() {
        let (outlet, mut emissions) = Outlet::open(terms(1_000));
        for _ in 0..3 {
            assert!(outlet.push(message(5_000)), "nothing else waits");
            assert_eq!(next(&mut emissions).await, Some(Emission::Message(message(5_000))));
        }
        assert!(outlet.push(message(5_000)) && !outlet.push(message(1)), "but who does not read it is");
    }

    #[tokio::test]
    async fn pieces_wait_for_room_and_end_with_their_reader() {
        let (outlet, mut emissions) = Outlet::open(terms(1 << 20));
        let piece = || Emission::Chunk(message(PIECES_BYTES));
        outlet.send(piece()).await.unwrap();
        let mut second = pin!(outlet.send(piece()));
        assert!(poll!(second.as_mut()).is_pending());
        assert_eq!(next(&mut emissions).await, Some(piece()));
        assert_eq!(second.await, Ok(()));
        let mut third = pin!(outlet.send(piece()));
        assert!(poll!(third.as_mut()).is_pending());
        drop(emissions);
        assert_eq!(third.await, Err(Closed));
        let (outlet, _emissions) = Outlet::open(terms(1 << 20));
        outlet.send(piece()).await.unwrap();
        let mut fourth = pin!(outlet.send(piece()));
        assert!(poll!(fourth.as_mut()).is_pending());
        outlet.finish();
        assert_eq!(fourth.await, Err(Closed), "nothing more is sent after the end");
    }

    #[tokio::test]
    async fn what_is_there_is_read_after_the_end() {
        let (outlet, mut emissions) = Outlet::open(terms(1_000));
        outlet.push(message(1));
        outlet.finish();
        assert!(!outlet.push(message(1)));
        assert_eq!(next(&mut emissions).await, Some(Emission::Message(message(1))));
        assert_eq!(next(&mut emissions).await, None);
        let (silent, _emissions) = Outlet::open(Terms::default());
        assert!(!silent.push(message(1)) && !silent.is_open() && silent.takes_pieces());
        assert!(!Outlet::closed().takes_pieces());
    }
}

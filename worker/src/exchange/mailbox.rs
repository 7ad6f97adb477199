//! Where the answers to questions arrive.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web::Bytes;
use task_mcp_mcp::sealed::random_id;
use task_mcp_mcp::{ContextFuture, Unanswered};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::desk::QUESTIONS_MAX;

/// Questions that may be open at the same time: as many as the process may have in all.
const OPEN_MAX: usize = QUESTIONS_MAX;

/// Gives questions their ids, and hands out the answers that arrive under them.
pub(crate) trait Mailbox: Send + Sync {
    /// An id for a question whose answer may take as long as `limit`.
    ///
    /// # Errors
    /// Nothing more can be asked.
    fn address(&self, limit: Duration) -> Result<String, Unanswered>;

    /// The answer under an id, a JSON object with `result` or `error`; `None` if it does not come within `limit`.
    ///
    /// # Errors
    /// Answers cannot be received, or the client is gone.
    fn receive<'a>(&'a self, id: &'a str, limit: Duration) -> ContextFuture<'a, Result<Option<Bytes>, Unanswered>>;

    /// Nobody waits for the answer any more.
    fn forget(&self, id: &str);
}

impl std::fmt::Debug for dyn Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mailbox")
    }
}

/// The answers of one client of this process alone, as one on standard input.
#[derive(Debug, Default)]
pub(crate) struct OwnMailbox(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    slots: HashMap<String, Slot>,
    /// No more answers will come, to whatever is asked.
    is_closed: bool,
}

/// Both ends of one answer's way, until they are taken: it may come before anybody waits.
#[derive(Debug)]
struct Slot {
    sender: Option<oneshot::Sender<Bytes>>,
    receiver: Option<oneshot::Receiver<Bytes>>,
}

impl OwnMailbox {
    /// Hands an answer to whoever waits for it, or will; false if nobody does, or has an answer already.
    pub(crate) fn put(&self, id: &str, answer: Bytes) -> bool {
        let sender = self.lock().slots.get_mut(id).and_then(|slot| slot.sender.take());
        sender.is_some_and(|sender| sender.send(answer).is_ok())
    }

    /// Says that no more answers will come, neither to what was asked nor to what would be.
    pub(crate) fn close(&self) {
        let mut open = self.lock();
        open.is_closed = true;
        open.slots.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox for OwnMailbox {
    fn address(&self, _: Duration) -> Result<String, Unanswered> {
        let id = random_id().map_err(|_| Unanswered::Unavailable)?;
        let id = format!("q{:032x}", u128::from_be_bytes(id));
        let mut open = self.lock();
        if open.is_closed {
            return Err(Unanswered::Gone);
        }
        if open.slots.len() >= OPEN_MAX {
            return Err(Unanswered::Unavailable);
        }
        let (sender, receiver) = oneshot::channel();
        open.slots.insert(id.clone(), Slot { sender: Some(sender), receiver: Some(receiver) });
        Ok(id)
    }

    fn receive<'a>(&'a self, id: &'a str, limit: Duration) -> ContextFuture<'a, Result<Option<Bytes>, Unanswered>> {
        Box::pin(async move {
            let receiver = self.lock().slots.get_mut(id).and_then(|slot| slot.receiver.take());
            let Some(receiver) = receiver else { return Err(Unanswered::Gone) };
            let answer = timeout(limit, receiver).await;
            self.forget(id);
            answer.map_or(Ok(None), |answer| answer.map(Some).map_err(|_| Unanswered::Gone))
        })
    }

    fn forget(&self, id: &str) {
        self.lock().slots.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn an_answer_reaches_the_one_who_asked_once_whoever_comes_first() {
        let mailbox = OwnMailbox::default();
        let (early, late) = (mailbox.address(LIMIT).unwrap(), mailbox.address(LIMIT).unwrap());
        assert_ne!(early, late);
        assert!(mailbox.put(&early, "1".into()) && !mailbox.put(&early, "2".into()), "the first counts");
        assert_eq!(mailbox.receive(&early, LIMIT).await, Ok(Some("1".into())));
        let waits = mailbox.receive(&late, LIMIT);
        let answers = async {
            tokio::task::yield_now().await;
            assert!(mailbox.put(&late, "3".into()));
        };
        assert_eq!(tokio::join!(waits, answers).0, Ok(Some("3".into())));
        assert!(mailbox.lock().slots.is_empty(), "nothing is kept");
        assert!(!mailbox.put("q0", "4".into()), "nobody asked");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_in_time_or_forgotten_is_not_kept() {
        let mailbox = OwnMailbox::default();
        let id = mailbox.address(LIMIT).unwrap();
        assert_eq!(mailbox.receive(&id, LIMIT).await, Ok(None));
        assert!(!mailbox.put(&id, "late".into()));
        let other = mailbox.address(LIMIT).unwrap();
        mailbox.forget(&other);
        assert_eq!(mailbox.receive(&other, LIMIT).await, Err(Unanswered::Gone));
        for _ in 0..OPEN_MAX {
            mailbox.address(LIMIT).unwrap();
        }
        assert_eq!(mailbox.address(LIMIT), Err(Unanswered::Unavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_asked_any_more_once_it_is_closed() {
        let mailbox = OwnMailbox::default();
        let id = mailbox.address(LIMIT).unwrap();
        let closes = async { mailbox.close() };
        assert_eq!(tokio::join!(mailbox.receive(&id, LIMIT), closes).0, Err(Unanswered::Gone));
        assert_eq!(mailbox.address(LIMIT), Err(Unanswered::Gone), "nobody would answer");
    }
}

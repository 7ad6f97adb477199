//! Requests that are under way: how many there may be, and which of them a client cancels.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;

use super::place::Place;

/// Requests that run at the same time, those that wait for their client left aside; further ones wait. More than one client has to ask at once, and far fewer than what a process may
/// do.
pub(super) const RUNNING_MAX: usize = 64;
/// Requests under way, those that wait and streams of subscriptions included: each holds its line.
pub(super) const UNDER_WAY_MAX: usize = 256;

/// The requests that are under way. Cloning shares them. Of one thread.
#[derive(Debug, Clone)]
pub(super) struct UnderWay(Rc<Parts>);

#[derive(Debug)]
struct Parts {
    requests: RefCell<Vec<Entry>>,
    next: std::cell::Cell<u64>,
    /// Places of those that run.
    places: Arc<Semaphore>,
    moved: Notify,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// `None` for a batch, which has no id of its own.
    id: Option<Value>,
    /// Until its task was started.
    task: Option<AbortHandle>,
}

/// One request; dropping it says that it is over.
#[derive(Debug)]
pub(super) struct Request {
    all: UnderWay,
    number: u64,
}

impl UnderWay {
    pub(super) fn new() -> Self {
        Self(Rc::new(Parts {
            requests: RefCell::default(),
            next: std::cell::Cell::new(0),
            places: Arc::new(Semaphore::new(RUNNING_MAX)),
            moved: Notify::new(),
        }))
    }

    /// One more, of that id as JSON; none if there are too many.
    pub(super) fn begin(&self, id: Option<&str>) -> Option<Request> {
        let mut requests = self.0.requests.borrow_mut();
        if requests.len() >= UNDER_WAY_MAX {
            return None;
        }
        let number = self.0.next.get();
        self.0.next.set(number + 1);
        // An id that is no text for us is one that cannot be cancelled.
        let id = id.and_then(|id| serde_json::from_str(id).ok());
        requests.push(Entry { number, id, task: None });
        Some(Request { all: self.clone(), number })
    }

    /// Ends the requests of that id, as JSON. The work of those that write goes on, and none is answered.
    pub(super) fn cancel(&self, id: &str) {
        let Ok(id) = serde_json::from_str::<Value>(id) else { return };
        let (cancelled, rest) = self.0.requests.take().into_iter().partition(|entry| entry.id.as_ref() == Some(&id));
        self.0.requests.replace(rest);
        let cancelled: Vec<Entry> = cancelled;
        cancelled.iter().filter_map(|entry| entry.task.as_ref()).for_each(AbortHandle::abort);
        self.0.moved.notify_waiters();
    }

    /// A place to run in, as soon as there is one.
    pub(super) async fn place(&self) -> Arc<Place> {
        Arc::new(Place::of(&self.0.places).await)
    }

    /// Returns when none is under way.
    pub(super) async fn none(&self) {
        loop {
            let moved = self.0.moved.notified();
            if self.0.requests.borrow().is_empty() {
                return;
            }
            moved.await;
        }
    }
}

impl Request {
    /// Which task serves it.
    pub(super) fn task(all: &UnderWay, number: u64, task: AbortHandle) {
        if let Some(entry) = all.0.requests.borrow_mut().iter_mut().find(|entry| entry.number == number) {
            entry.task = Some(task);
        }
    }

    /// Names it among all.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.all.0.requests.borrow_mut().retain(|entry| entry.number != self.number);
        self.all.0.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn more_than_so_many_are_refused_until_one_is_over() {
        let all = UnderWay::new();
        let mut begun: Vec<Request> = (0..UNDER_WAY_MAX).map(|id| all.begin(Some(&id.to_string())).unwrap()).collect();
        assert!(all.begin(Some("x")).is_none());
        assert!(all.none().now_or_never().is_none());
        drop(begun.pop());
        assert!(all.begin(Some("\"x\"")).is_some());
        drop(begun);
        assert!(all.none().now_or_never().is_some());
    }

    #[test]
    fn a_request_is_cancelled_under_its_own_id_only() {
        let all = UnderWay::new();
        let (_one, _other) = (all.begin(Some("7")).unwrap(), all.begin(Some("\"7\"")).unwrap());
        let _batch = all.begin(None).unwrap();
        let ids = || all.0.requests.borrow().iter().map(|entry| entry.id.clone()).collect::<Vec<_>>();
        all.cancel("8");
        all.cancel("nonsense");
        assert_eq!(ids().len(), 3);
        all.cancel("\"\\u0037\"");
        assert_eq!(ids(), [Some(7.into()), None]);
    }
}

//! Places that requests run in. One that waits for its client leaves its place to others meanwhile, or as many as there are places could
//! keep everything else from being served for as long as a client may take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use actix_web::web::Bytes;
use task_mcp_mcp::{ContextFuture, Unanswered};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::exchange::{Mailbox, OwnMailbox};

/// Where one request runs; dropping it makes room.
#[derive(Debug)]
pub(super) struct Place {
    all: Arc<Semaphore>,
    /// Nothing while its request waits for the client.
    taken: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Place {
    /// One of `all`, as soon as there is one.
    pub(super) async fn of(all: &Arc<Semaphore>) -> Self {
        let place = Self { all: Arc::clone(all), taken: Mutex::default() };
        place.take().await;
        place
    }

    async fn take(&self) {
        // The semaphore is never closed.
        let taken = Arc::clone(&self.all).acquire_owned().await.ok();
        *self.lock() = taken;
    }

    fn leave(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client's answers to what one request asks.
pub(super) struct PlacedMailbox {
    mailbox: Arc<OwnMailbox>,
    /// Gone with the request: a write may go on after it.
    place: Weak<Place>,
}

impl PlacedMailbox {
    /// Answers that arrive in `mailbox`, for the request in `place`.
    pub(super) fn new(mailbox: &Arc<OwnMailbox>, place: &Arc<Place>) -> Self {
        Self { mailbox: Arc::clone(mailbox), place: Arc::downgrade(place) }
    }
}

impl Mailbox for PlacedMailbox {
    fn address(&self, limit: Duration) -> Result<String, Unanswered> {
        self.mailbox.address(limit)
    }

    fn receive<'a>(&'a self, id: &'a str, limit: Duration) -> ContextFuture<'a, Result<Option<Bytes>, Unanswered>> {
        Box::pin(async move {
            if let Some(place) = self.place.upgrade() {
                place.leave();
            }
            let answer = self.mailbox.receive(id, limit).await;
            if let Some(place) = self.place.upgrade() {
                place.take().await;
            }
            answer
        })
    }

    fn forget(&self, id: &str) {
        self.mailbox.forget(id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::FutureExt as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn who_waits_for_its_client_leaves_its_place_to_others() {
        let all = Arc::new(Semaphore::new(1));
        let own = Arc::new(OwnMailbox::default());
        let place = Arc::new(Place::of(&all).await);
        assert!(Place::of(&all).now_or_never().is_none(), "it is taken");
        let mailbox = PlacedMailbox::new(&own, &place);
        let id = mailbox.address(LIMIT).unwrap();
        let mut waits = mailbox.receive(&id, LIMIT);
        assert!((&mut waits).now_or_never().is_none());
        let other = Place::of(&all).now_or_never().expect("the place is free meanwhile");
        assert!(own.put(&id, "1".into()));
        assert!((&mut waits).now_or_never().is_none(), "it goes on in a place only");
        drop(other);
        assert_eq!(waits.await, Ok(Some("1".into())));
        assert!(Place::of(&all).now_or_never().is_none(), "it has its place again");
        drop(place);
        assert!(Place::of(&all).now_or_never().is_some());
        let id = mailbox.address(LIMIT).unwrap();
        assert!(own.put(&id, "2".into()));
        assert_eq!(
            mailbox.receive(&id, LIMIT).await,
            Ok(Some("2".into())),
            "what goes on after its request needs none"
        );
        assert_eq!(all.available_permits(), 1);
    }
}

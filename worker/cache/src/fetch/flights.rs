//! Who computes what in this process at this moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::tier::Stamps;
use crate::{Key, Value};

/// Computations that others can wait for; one beyond that is done all the same, but nobody joins it.
const MAX_FLIGHTS: usize = 16_384;

/// The computations of a process, by what they compute.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_key: Mutex<HashMap<Key, Arc<Flight>>>,
}

/// One computation, as seen by those who wait for it.
#[derive(Debug)]
pub(super) struct Flight {
    /// Taken before it began. Who has seen a later epoch does not wait for it.
    stamps: Stamps,
    began: Instant,
    told: watch::Sender<Option<Told>>,
}

/// What a computation tells those who wait.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) value: Value,
    pub(super) source: Source,
    pub(super) age: Duration,
    /// Whether it is only for the caller whose computation it is.
    pub(super) only_one: bool,
}

/// Where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// This process computed it.
    Here,
    /// Another process did.
    Elsewhere,
    /// This process did, because the tier could not be asked.
    Untrusted,
}

/// Waits for a computation. Dropped, it waits no longer.
#[derive(Debug)]
pub(super) struct Waiting {
    told: watch::Receiver<Option<Told>>,
    /// When the computation began, or a little earlier.
    pub(super) began: Instant,
}

/// The place of a computation among the others, for whoever carries it out; dropped, nobody can join any more, and who waits
/// without having been told anything learns that nothing comes.
#[derive(Debug)]
pub(super) struct Landing {
    flights: Arc<Flights>,
    key: Key,
    flight: Arc<Flight>,
}

impl Flights {
    /// A place among those who wait for the computation of `key`; with a landing if the caller is to carry it out, because there is
    /// none or because it began before what `stamps` tells of.
    pub(super) fn board(self: &Arc<Self>, key: Key, stamps: Stamps) -> (Waiting, Option<Landing>) {
        let mut by_key = self.lock();
        if let Some(flight) = by_key.get(&key)
            && flight.stamps.cover(&stamps)
        {
            return (flight.wait(), None);
        }
        let flight = Arc::new(Flight { stamps, began: Instant::now(), told: watch::Sender::new(None) });
        let waiting = flight.wait();
        if by_key.len() < MAX_FLIGHTS || by_key.contains_key(&key) {
            by_key.insert(key, Arc::clone(&flight));
        }
        (waiting, Some(Landing { flights: Arc::clone(self), key, flight }))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flight>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn wait(&self) -> Waiting {
        Waiting { told: self.told.subscribe(), began: self.began }
    }
}

impl Waiting {
    /// What the computation tells; `None` if it comes to nothing.
    pub(super) async fn told(mut self) -> Option<Told> {
        self.told.wait_for(Option::is_some).await.ok().and_then(|told| told.clone())
    }
}

impl Landing {
    /// Another place among those who wait.
    pub(super) fn wait(&self) -> Waiting {
        self.flight.wait()
    }

    /// Tells those who wait.
    pub(super) fn tell(&self, told: Told) {
        self.flight.told.send_replace(Some(told));
    }

    /// From now on nobody joins.
    pub(super) fn close(&self) {
        self.leave(&mut self.flights.lock());
    }

    /// Returns once nobody waits and nobody can join any more.
    pub(super) async fn deserted(&self) {
        loop {
            self.flight.told.closed().await;
            let mut by_key = self.flights.lock();
            // Between the two somebody may have joined, which takes the lock.
            if self.flight.told.receiver_count() == 0 {
                self.leave(&mut by_key);
                return;
            }
        }
    }

    fn leave(&self, by_key: &mut HashMap<Key, Arc<Flight>>) {
        // A later computation of the same key may have taken the place.
        if by_key.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            by_key.remove(&self.key);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.close();
    }
}

//! Whether the process that runs a call or a task lives: it keeps a record of itself while it runs any, and others look for that
//! record. So a call costs no renewals of its own, and the clock is that of whoever holds the records. Of a process on the same
//! machine the system knows more, and at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::StateError;
use crate::place::Place;
use crate::records::{Kind, Records};

/// How long others believe that a process lives that says nothing more.
const LEASE: Duration = Duration::from_secs(15);
/// How often it says so while it runs calls.
const RENEWAL: Duration = Duration::from_secs(5);

/// This process, as one that runs calls. Cloning is cheap and shares it.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    /// Random, so that no other process has it, now or later.
    id: u64,
    /// Where it is.
    place: Arc<Place>,
    records: Records,
    now: Arc<Mutex<Now>>,
}

#[derive(Debug, Default)]
struct Now {
    /// Keys of the calls under way, and of those about to be, with how many have each; bounded by how many calls a process runs.
    calls: HashMap<String, usize>,
    /// When the record was last written.
    renewed: Option<Instant>,
    /// A task renews it.
    is_renewing: bool,
}

impl Runner {
    pub(crate) fn new(records: Records) -> Self {
        Self { id: rand::random(), place: Arc::new(Place::here()), records, now: Arc::default() }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Sees to it that others know that this process lives, before they can ask.
    pub(crate) async fn appear(&self) -> Result<(), StateError> {
        let is_known = self.lock().renewed.is_some_and(|renewed| renewed.elapsed() < RENEWAL);
        if is_known {
            return Ok(());
        }
        self.renew().await
    }

    /// A call is under way from now on.
    pub(crate) fn begin(&self, key: &str) {
        let starts = {
            let mut now = self.lock();
            *now.calls.entry(key.to_owned()).or_default() += 1;
            !std::mem::replace(&mut now.is_renewing, true)
        };
        if starts {
            tokio::spawn(self.clone().keep_alive());
        }
    }

    /// It has ended.
    pub(crate) fn end(&self, key: &str) {
        let mut now = self.lock();
        if let Some(count) = now.calls.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                now.calls.remove(key);
            }
        }
    }

    /// Whether that process lives and may still run the call.
    pub(crate) async fn runs(&self, runner: u64, key: &str) -> Result<bool, StateError> {
        if runner == self.id {
            return Ok(self.lock().calls.contains_key(key));
        }
        Ok(self.records.get(Kind::Runner, &name(runner)).await?.is_some())
    }

    /// Its name for those who may be on its machine, or not.
    pub(crate) fn full_name(&self) -> String {
        format!("{}@{}", name(self.id), self.place)
    }

    /// Whether the process of that full name lives and may still run the call. A process of this machine that is only stopped lives.
    pub(crate) async fn lives(&self, full_name: &str, key: &str) -> Result<bool, StateError> {
        let Some((id, place)) = full_name.split_once('@') else { return Ok(false) };
        let Ok(id) = u64::from_str_radix(id, 16) else { return Ok(false) };
        match Place::parse(place).and_then(|place| place.lives_beside(&self.place)) {
            Some(lives) if id != self.id => Ok(lives),
            _ => self.runs(id, key).await,
        }
    }

    async fn renew(&self) -> Result<(), StateError> {
        let begun = Instant::now();
        self.records.put(Kind::Runner, &name(self.id), Vec::new(), LEASE).await?;
        self.lock().renewed = Some(begun);
        Ok(())
    }

    /// Renews the record as long as calls are under way. What fails is tried again; calls meanwhile are said to be of unknown outcome.
    async fn keep_alive(self) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            {
                let mut now = self.lock();
                if now.calls.is_empty() {
                    now.is_renewing = false;
                    return;
                }
            }
            let _ = self.renew().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(runner: u64) -> String {
    format!("{runner:016x}")
}

//! One try of a process at a key: it ends well, or what it may have entered is put right.

use super::entry::{Entry, Stage};
use super::loose_ends::{LooseEnd, Remedy};
use super::{Ledger, Ticket};
use crate::records::Version;

/// A try at a key, from before its record may be there. Whoever drops it has left the record, if there is one, as it is.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) key: String,
    /// Of the record, as this try enters it.
    pub(super) version: Version,
    pub(super) fingerprint: [u8; 32],
    pub(super) ledger: Ledger,
    /// What is to be done about the record if it goes no further.
    remedy: Option<Intent>,
}

/// What a try that is broken off leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    /// It has not been run, nor will be: the key is to be free.
    Withdraw,
    /// It may have been run: nobody knows what came of it.
    Lose,
}

impl Attempt {
    /// Begins a try; from now on this process says that the call is being run.
    pub(super) fn new(ledger: &Ledger, key: &str, fingerprint: [u8; 32]) -> Self {
        ledger.0.runner.begin(key);
        let (key, ledger) = (key.to_owned(), ledger.clone());
        Self { key, version: Version::fresh(), fingerprint, ledger, remedy: Some(Intent::Withdraw) }
    }

    /// The record is there: the call may be run.
    pub(super) fn won(mut self) -> Ticket {
        self.remedy = Some(Intent::Lose);
        Ticket(self)
    }

    /// The record is as it should be, or was never made.
    pub(super) fn settled(mut self) {
        self.remedy = None;
    }

    /// The call has not been run, nor will be.
    pub(super) fn was_not_run(&mut self) {
        self.remedy = Some(Intent::Withdraw);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let key = std::mem::take(&mut self.key);
        let remedy = match self.remedy {
            None => return self.ledger.0.runner.end(&key),
            Some(Intent::Withdraw) => Remedy::Withdraw,
            Some(Intent::Lose) => {
                Remedy::Lose(Entry { fingerprint: self.fingerprint, stage: Stage::Lost }.encode().into())
            }
        };
        // Other processes would believe that it is being run for as long as this one runs calls.
        self.ledger.0.loose_ends.put(LooseEnd { key, version: self.version, remedy });
    }
}

//! No tier: nothing is kept, and processes do not wait for each other.

use task_mcp_scoreboard::{Commons, Epochs};
use task_mcp_telemetry::CacheFault;

use crate::tier::{Entry, Lease, Looked, Stamps, Tier, Token};
use crate::{Key, Tag};

/// Keeps nothing. Epochs are kept all the same: nobody waits for a computation that began before a write had ended.
#[derive(Debug)]
pub(crate) struct None {
    epochs: Epochs,
    incarnation: u64,
}

impl None {
    pub(crate) fn new(commons: &Commons) -> Self {
        Self { epochs: commons.epochs(), incarnation: commons.incarnation() }
    }
}

impl Tier for None {
    async fn look(&self, _key: &Key, tags: &[Tag]) -> Looked {
        Looked::Nothing(Stamps::of(self.incarnation, tags, |cell| self.epochs.of_cell(cell)))
    }

    async fn lease(&self, _key: &Key) -> Lease {
        Lease::None
    }

    async fn renew(&self, _key: &Key, _token: Token) -> bool {
        false
    }

    async fn release(&self, _key: &Key, _token: Token) {}

    async fn store(&self, _key: &Key, _entry: Entry, _token: Option<Token>) -> Result<(), CacheFault> {
        Ok(())
    }

    async fn bump(&self, tags: &[Tag]) {
        for tag in tags {
            self.epochs.bump(tag.as_str());
        }
    }
}

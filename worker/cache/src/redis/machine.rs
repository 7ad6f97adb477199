//! What the processes of a machine know together of the epochs in Redis.

use task_mcp_redis::ServerId;
use task_mcp_scoreboard::{Commons, EPOCH_CELLS, Epochs, Remote, monotonic_ms};

use crate::tier::Stamps;

/// The machine's local epochs, and its share of the remote ones. Cloning is cheap and shares the mapping.
///
/// The machine adopts one incarnation of the remote epochs at a time (its housekeeper does, for all processes), and
/// trusts no other.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) epochs: Epochs,
    pub(super) remote: Remote,
}

/// The incarnation of the epochs of one server: what lies there under another server's name, after a failover or a
/// restart, is of another incarnation. Both are random, so two pairs that meet are not to be expected; the same
/// function leads back.
pub(super) fn of_server(incarnation: u64, server: ServerId) -> u64 {
    incarnation ^ server.0
}

impl Machine {
    pub(super) fn new(commons: &Commons) -> Self {
        Self { epochs: commons.epochs(), remote: commons.remote() }
    }

    /// The incarnation this machine has adopted; 0 is none.
    pub(super) fn adopted(&self) -> u64 {
        self.remote.trust().incarnation
    }

    /// Whether there are bumps of a cell that Redis may not know of.
    pub(super) fn untold(&self, cell: usize) -> bool {
        self.epochs.of_cell(cell) > self.remote.told(cell)
    }

    /// Cells with such bumps, and their local epochs.
    pub(super) fn all_untold(&self) -> Vec<(usize, u64)> {
        let cells = (0..EPOCH_CELLS).map(|cell| (cell, self.epochs.of_cell(cell)));
        cells.filter(|(cell, epoch)| *epoch > self.remote.told(*cell)).collect()
    }

    /// Whether what is known is known to be the truth, and these are its stamps.
    pub(super) fn vouches_for(&self, stamps: &Stamps) -> bool {
        let trusted = || {
            let trust = self.remote.trust();
            trust.incarnation == stamps.incarnation && monotonic_ms() < trust.until_ms
        };
        let same = |(cell, epoch): &(u16, u64)| {
            let cell = usize::from(*cell);
            !self.untold(cell) && self.remote.known(cell) == *epoch
        };
        // Again afterwards: what was known is forgotten while another incarnation is adopted, and trust ends before
        // that begins.
        stamps.incarnation != 0 && trusted() && stamps.epochs.iter().all(same) && trusted()
    }

    /// These epochs were seen in Redis.
    pub(super) fn learn(&self, stamps: &Stamps) {
        if stamps.incarnation != self.adopted() {
            return;
        }
        for (cell, epoch) in &stamps.epochs {
            let cell = usize::from(*cell);
            // Reading is cheaper than writing to memory that all processes share.
            if self.remote.known(cell) < *epoch {
                self.remote.learn(cell, *epoch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use task_mcp_scoreboard::RemoteTrust;

    use super::*;

    fn stamps(incarnation: u64, epochs: &[(u16, u64)]) -> Stamps {
        Stamps { incarnation, epochs: epochs.to_vec() }
    }

    #[test]
    fn memory_is_vouched_for_only_while_trust_lasts_and_nothing_is_untold() {
        let machine = Machine::new(&Commons::create().unwrap());
        let until_ms = monotonic_ms() + 60_000;
        assert!(!machine.vouches_for(&stamps(0, &[])));
        machine.remote.set_trust(RemoteTrust { until_ms, incarnation: 7 });
        machine.learn(&stamps(7, &[(3, 5)]));
        machine.learn(&stamps(8, &[(3, 9)]));
        assert!(machine.vouches_for(&stamps(7, &[(3, 5), (4, 0)])));
        assert!(!machine.vouches_for(&stamps(7, &[(3, 4)])));
        assert!(!machine.vouches_for(&stamps(7, &[(3, 6)])), "it says more than this machine knows");
        assert!(!machine.vouches_for(&stamps(8, &[(3, 5)])));
        machine.remote.set_trust(RemoteTrust { until_ms: monotonic_ms(), incarnation: 7 });
        assert!(!machine.vouches_for(&stamps(7, &[(3, 5)])), "its time is over");
        machine.remote.set_trust(RemoteTrust { until_ms, incarnation: 7 });
        let epoch = machine.epochs.bump("change:x");
        let cell = Epochs::cell("change:x");
        assert!(!machine.vouches_for(&stamps(7, &[(u16::try_from(cell).unwrap(), 0)])), "a bump is under way");
        assert_eq!(machine.all_untold(), [(cell, 1)]);
        machine.remote.tell(cell, epoch);
        assert!(!machine.untold(cell) && machine.all_untold().is_empty());
    }
}

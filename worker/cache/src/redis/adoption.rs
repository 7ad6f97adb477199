//! What follows from the epochs that were found in Redis.

use task_mcp_redis::ServerId;

use super::machine::of_server;

/// What the housekeeper knows and finds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// The incarnation this machine has adopted; 0 is none.
    pub(super) adopted: u64,
    /// The server at which it did, as far as this housekeeper knows.
    pub(super) adopted_at: Option<ServerId>,
    /// The server that answers now.
    pub(super) server: ServerId,
    /// The incarnation that lies there.
    pub(super) incarnation: Option<u64>,
    /// Whether an epoch is lower there than somebody here has seen it.
    pub(super) went_back: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adoption {
    /// It is the incarnation this machine has adopted already.
    Keep,
    /// Somebody has begun another on the same server, for reasons of his own: after everything this machine was told
    /// there. Adopt it.
    Adopt,
    /// Begin another.
    Renew(Why),
}

/// Why another incarnation begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// This machine is new here: bumps may have died with what ran on it before, and nobody watched the tree meanwhile.
    Arrived,
    /// It is another server, or a restarted one: what the one before was told may be lost.
    OtherServer,
    /// There are no epochs: they were deleted or evicted.
    Emptied,
    /// Epochs are lower than they were.
    WentBack,
}

impl Found {
    pub(super) fn adoption(&self) -> Adoption {
        let Some(incarnation) = self.incarnation else { return Adoption::Renew(Why::Emptied) };
        if self.adopted == 0 {
            Adoption::Renew(Why::Arrived)
        } else if of_server(incarnation, self.server) == self.adopted {
            if self.went_back { Adoption::Renew(Why::WentBack) } else { Adoption::Keep }
        } else if self.adopted_at == Some(self.server) {
            Adoption::Adopt
        } else {
            Adoption::Renew(Why::OtherServer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ServerId = ServerId(0xa);
    const B: ServerId = ServerId(0xb);

    #[test]
    fn what_is_found_is_adopted_only_where_this_machine_has_been_all_along() {
        let known = Found {
            adopted: of_server(100, A),
            adopted_at: Some(A),
            server: A,
            incarnation: Some(100),
            went_back: false,
        };
        let adoption = |found: Found| found.adoption();
        assert_eq!(adoption(known), Adoption::Keep);
        assert_eq!(adoption(Found { adopted_at: None, ..known }), Adoption::Keep, "a new housekeeper");
        assert_eq!(adoption(Found { went_back: true, ..known }), Adoption::Renew(Why::WentBack));
        assert_eq!(adoption(Found { incarnation: Some(101), ..known }), Adoption::Adopt);
        let unsure = Found { adopted_at: None, incarnation: Some(101), ..known };
        assert_eq!(adoption(unsure), Adoption::Renew(Why::OtherServer));
        assert_eq!(
            adoption(Found { server: B, ..known }),
            Adoption::Renew(Why::OtherServer),
            "a copy of the same epochs"
        );
        assert_eq!(adoption(Found { incarnation: None, ..known }), Adoption::Renew(Why::Emptied));
        assert_eq!(adoption(Found { adopted: 0, adopted_at: None, ..known }), Adoption::Renew(Why::Arrived));
    }
}

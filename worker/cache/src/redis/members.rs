//! The machines that share the epochs: each is a member for a limited time, which it prolongs as long as it can tell the
//! others of its bumps.
//!
//! A write on a machine that cannot tell is answered once its time as a member is over; while the time of any member is
//! over, nobody trusts anything. A machine that comes back tells what it could not before it is a member again. One that
//! stays away is given up, and another incarnation begins.
//!
//! Times are the server's, in milliseconds since 1970, and given to it as such: what asks for more time and arrives late
//! gives none.

use task_mcp_redis::ServerId;
use task_mcp_scoreboard::monotonic_ms;

use super::RedisTier;

/// Field of the epochs: `id:until` of each member, separated by spaces. `-seen` is there instead of `until` once somebody
/// has seen that it was over.
pub(super) const MEMBERS: &str = "members";

/// For how long a member is one unless it prolongs that. The longest that a write waits for the others' sake.
pub(super) const LEASE_MS: u64 = 1_000;

/// Nobody can have been given so much more: the server's clock was set back.
pub(super) const SLACK_MS: u64 = 100;

/// How long after the server's return, or after it was seen to be away, a member may come back before it is given up, at
/// least. Connecting anew takes [`task_mcp_config::settings::Redis::retry_max_ms`], more or less.
pub(super) const GRACE_MS: u64 = 5_000;

/// Whether all members of this list are there, at a time of the server.
pub(super) fn all_there(members: &str, now_ms: u64) -> bool {
    parse(members).all(|member| member.is_some_and(|(_, until_ms)| is_there(until_ms, now_ms)))
}

/// Whether this one is among those that are there.
pub(super) fn is_member(members: &str, id: u64, now_ms: u64) -> bool {
    parse(members).flatten().any(|(other, until_ms)| other == id && is_there(until_ms, now_ms))
}

/// The others in the list.
pub(super) fn others(members: &str, id: u64) -> Vec<u64> {
    parse(members).flatten().map(|(other, _)| other).filter(|other| *other != id).collect()
}

fn parse(members: &str) -> impl Iterator<Item = Option<(u64, i64)>> {
    members.split_ascii_whitespace().map(|member| {
        let (id, until_ms) = member.split_once(':')?;
        Some((id.parse().ok()?, until_ms.parse().ok()?))
    })
}

fn is_there(until_ms: i64, now_ms: u64) -> bool {
    let left_ms = u64::try_from(until_ms).unwrap_or(0).saturating_sub(now_ms);
    left_ms > 0 && left_ms <= LEASE_MS + SLACK_MS
}

/// Milliseconds of what TIME answers: seconds, and microseconds.
pub(super) fn server_ms((seconds, micros): (u64, u64)) -> u64 {
    seconds.saturating_mul(1_000).saturating_add(micros / 1_000)
}

/// A server's clock by ours: never later than it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) server: ServerId,
    server_ms: u64,
    received_ms: u64,
}

impl Clock {
    /// The server has just answered that it is so late.
    pub(super) fn of(server: ServerId, server_ms: u64) -> Self {
        Self { server, server_ms, received_ms: monotonic_ms() }
    }

    /// A moment of CLOCK_MONOTONIC in the server's time.
    pub(super) fn at(&self, monotonic_ms: u64) -> u64 {
        (self.server_ms + monotonic_ms).saturating_sub(self.received_ms)
    }
}

impl RedisTier {
    /// Whether nothing keeps the others from trusting what they know, or nobody is there to do so: a write may be answered.
    pub(super) fn has_lapsed(&self) -> bool {
        // In this order (`Remote::membership`).
        let now_ms = monotonic_ms();
        let membership = self.machine.remote.membership();
        membership.others == 0 || now_ms >= membership.until_ms
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_are_there_while_nobodys_time_is_over() {
        assert!(all_there("", 5_000) && all_there("7:5001 9:6100", 5_000));
        for away in ["7:5000", "7:5001 9:4000", "7:-5000", "7:5001 9", "7:x", "7:6101"] {
            assert!(!all_there(away, 5_000), "{away}");
        }
        assert!(is_member("9:1 7:5001", 7, 5_000));
        assert!(!is_member("9:5001 7:-1", 7, 5_000) && !is_member("9:5001", 7, 5_000));
        assert_eq!(others("9:5001 7:-1 8:2", 7), [9, 8]);
    }

    #[test]
    fn the_servers_clock_is_never_taken_to_be_later_than_it_is() {
        let clock = Clock { server: ServerId(1), server_ms: 9_000, received_ms: 400 };
        assert_eq!((clock.at(400), clock.at(450), clock.at(300)), (9_000, 9_050, 8_900));
        assert_eq!(server_ms((12, 345_999)), 12_345);
    }

    proptest! {
        #[test]
        fn anything_may_lie_there(members in any::<String>(), now_ms in any::<u64>()) {
            let _ = (all_there(&members, now_ms), is_member(&members, 1, now_ms), others(&members, 1));
        }
    }
}

//! How this machine remains a member: its housekeeper's part.

use redis::Cmd;
use task_mcp_redis::{Answer, ServerId};
use task_mcp_scoreboard::monotonic_ms;

use super::RedisTier;
use super::answers;
use super::house::PATIENCE;
use super::machine::of_server;
use super::members::{self, Clock, LEASE_MS, SLACK_MS};

/// The server measures in whole milliseconds, and so do we.
const ROUNDING_MS: u64 = 2;

/// What a housekeeper knows of the members.
#[derive(Debug)]
pub(super) struct Member {
    id: u64,
    clock: Option<Clock>,
    /// Until when, by our clock, it asked to be a member and was not answered: it may be one until then, and asks for no
    /// more before it knows.
    asked_ms: Option<u64>,
    others: Vec<u64>,
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// It is a member, unless it was too late, and whether all are there.
    Member { all_there: bool },
    /// The server has another incarnation, or none.
    OutOfStep,
    /// It did not answer, or not in a way that helps.
    Unsure,
}

impl Member {
    pub(super) fn new(tier: &RedisTier) -> Self {
        let id = tier.machine.remote.member_id(rand::random::<u64>().max(1));
        Self { id, clock: None, asked_ms: None, others: Vec::new() }
    }

    /// The other members, as they were last seen.
    pub(super) fn others(&self) -> &[u64] {
        &self.others
    }

    /// This list was found. One that was lost leaves what is known.
    pub(super) fn found(&mut self, members: Option<&str>) {
        if let Some(members) = members {
            self.others = members::others(members, self.id);
        }
    }

    /// The server has just answered that it is so late.
    pub(super) fn set_clock(&mut self, server: ServerId, server_ms: u64) {
        self.clock = Some(Clock::of(server, server_ms));
    }

    /// Prolongs the membership at the server whose incarnation was adopted, as of now.
    pub(super) async fn renew(&mut self, tier: &RedisTier, adopted_at: Option<ServerId>) -> Renewal {
        let Some(clock) = self.clock.filter(|clock| Some(clock.server) == adopted_at) else { return Renewal::Unsure };
        let machine = &tier.machine;
        let until_ms = match self.asked_ms {
            Some(asked_ms) if asked_ms > monotonic_ms() => asked_ms,
            _ => monotonic_ms() + LEASE_MS,
        };
        machine.remote.prolong_membership(until_ms + ROUNDING_MS);
        // Writes may have been answered untold because the time was over, whoever has prolonged it since. No later one is:
        // it sees the new time.
        if tier.tell(&machine.all_untold(), PATIENCE).await.is_err() {
            return Renewal::Unsure;
        }
        self.asked_ms = Some(until_ms);
        self.ask(tier, clock, until_ms).await.unwrap_or(Renewal::Unsure)
    }

    async fn ask(&mut self, tier: &RedisTier, clock: Clock, until_ms: u64) -> Option<Renewal> {
        let incarnation = of_server(tier.machine.adopted(), clock.server);
        let beginning: u64 = rand::random::<u64>().max(1);
        let others = self.others.clone();
        let arguments = |command: &mut Cmd| {
            command.arg(&tier.keys.bumps).arg(self.id).arg(clock.at(until_ms)).arg(incarnation);
            command.arg(tier.grace_ms).arg(beginning).arg(LEASE_MS + SLACK_MS).arg(&others);
        };
        let keys = [tier.keys.epochs.as_str()];
        let answer = tier.run(&tier.scripts.member, &keys, arguments, PATIENCE).await;
        let Answer { value: (time, now, members), server }: Answer<(u64, String, String)> = answer.ok()?;
        self.asked_ms = None;
        self.set_clock(server, time);
        if now.is_empty() || server != clock.server {
            return Some(Renewal::OutOfStep);
        }
        self.found(Some(&members));
        tier.machine.remote.set_other_members(self.others.len() as u64);
        let now = answers::incarnation(now.as_bytes())?;
        if now != incarnation {
            tracing::warn!(
                away_ms = tier.grace_ms,
                "A machine that shared Redis has not been there for so long; no result from before is answered."
            );
            return Some(Renewal::OutOfStep);
        }
        let all_there = members::all_there(&members, time) && members::is_member(&members, self.id, time);
        Some(Renewal::Member { all_there })
    }
}

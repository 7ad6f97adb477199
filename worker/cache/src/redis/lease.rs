//! Leases: of all who share Redis, one computes.

use std::time::Instant;

use redis::Cmd;
use task_mcp_redis::Answer;
use task_mcp_telemetry::{CacheFault, CacheOperation};

use super::{RedisTier, answers};
use crate::Key;
use crate::tier::{Lease, Token};

impl RedisTier {
    /// Takes the lease of a key if nobody has it.
    pub(super) async fn take_lease(&self, key: &Key) -> Lease {
        let began = Instant::now();
        let lives = self.lease_ms();
        let keys = [self.keys.lease(key), self.keys.fence.clone()];
        let keys = keys.each_ref().map(String::as_str);
        let answer = self.run(&self.scripts.lease, &keys, |command| _ = command.arg(lives), self.budget).await;
        self.metrics.operated(CacheOperation::Lease, began.elapsed());
        let answer: Result<Answer<(i64, Vec<u8>, i64)>, _> = answer;
        let taken = answer.and_then(|answer| {
            let (what, token, left_ms) = answer.value;
            answers::lease(what, &token, left_ms).ok_or(CacheFault::Corrupt)?
        });
        match taken {
            // One that seems longer than ours is none of ours, or of other settings.
            Ok(Lease::Held { left, holder }) => Lease::Held { left: left.min(self.lease), holder },
            Ok(lease) => lease,
            Err(fault) => {
                self.failed(fault);
                Lease::None
            }
        }
    }

    /// Prolongs a lease; false if it is another's, or if that cannot be said.
    pub(super) async fn prolong_lease(&self, key: &Key, Token(token): Token) -> bool {
        let lives = self.lease_ms();
        let arguments = |command: &mut Cmd| _ = command.arg(token).arg(lives);
        let keys = [self.keys.lease(key)];
        let keys = keys.each_ref().map(String::as_str);
        let answer: Result<Answer<i64>, _> = self.run(&self.scripts.renew_lease, &keys, arguments, self.budget).await;
        match answer {
            Ok(answer) => answer.value == 1,
            Err(fault) => {
                self.failed(fault);
                false
            }
        }
    }

    /// Gives a lease back, or lets it run out if that cannot be done now.
    pub(super) async fn give_back_lease(&self, key: &Key, Token(token): Token) {
        let arguments = |command: &mut Cmd| _ = command.arg(token);
        let keys = [self.keys.lease(key)];
        let keys = keys.each_ref().map(String::as_str);
        let answer: Result<Answer<i64>, _> = self.run(&self.scripts.release_lease, &keys, arguments, self.budget).await;
        if let Err(fault) = answer {
            self.failed(fault);
        }
    }

    fn lease_ms(&self) -> u64 {
        u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX)
    }
}

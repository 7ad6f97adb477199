//! Storing entries and moving epochs on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Cmd;
use task_mcp_redis::Answer;
use task_mcp_telemetry::{CacheFault, CacheOperation};

use super::RedisTier;
use super::answers::{self, Field};
use super::machine::of_server;
use super::members::LEASE_MS;
use super::memory::Held;
use crate::entry::{encode, over_ms, unix_ms};
use crate::tier::{Entry, Token};
use crate::{Key, Tag};

/// How often a write that waits for others looks whether it need not any more.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long it leaves Redis alone after a failure.
const TELL_AGAIN: Duration = Duration::from_millis(20);

impl RedisTier {
    /// Keeps an entry if, at the server, no tag has moved on since its stamps and the lease is still that of the token.
    pub(super) async fn keep(&self, key: &Key, entry: Entry, token: Option<Token>) -> Result<(), CacheFault> {
        if entry.value.len() as u64 > self.entry_bytes {
            return Err(CacheFault::TooLarge);
        }
        let began = Instant::now();
        let server = self.redis.server().ok_or(CacheFault::Unavailable)?;
        let bytes = encode(key, &entry, self.compress_bytes)?;
        let Entry { value, stamps, created_ms, fresh, stale, .. } = entry;
        // What is left of its time: the server's clock measures the age from here on.
        let Some(lives_ms) = over_ms(created_ms, fresh, stale).checked_sub(unix_ms()).filter(|left_ms| *left_ms > 0)
        else {
            return Ok(());
        };
        let arguments = |command: &mut Cmd| {
            match token {
                Some(Token(token)) => command.arg(token),
                None => command.arg(""),
            };
            // If the connection leads to another server by now, this number is none of its incarnations.
            command.arg(lives_ms).arg(&bytes).arg(of_server(stamps.incarnation, server));
            for (cell, epoch) in &stamps.epochs {
                command.arg(*cell).arg(*epoch);
            }
        };
        let (entry_key, lease_key) = (self.keys.entry(key), self.keys.lease(key));
        let keys = [self.keys.epochs.as_str(), &entry_key, &lease_key];
        let answer = self.run(&self.scripts.store, &keys, arguments, self.left(began)).await;
        self.metrics.operated(CacheOperation::Put, began.elapsed());
        let answer: Answer<i64> = answer?;
        match answer.value {
            0 => {}
            1 => return Err(CacheFault::Late),
            2 => return Err(CacheFault::Fenced),
            3 => return Err(CacheFault::Full),
            _ => return Err(CacheFault::Corrupt),
        }
        self.memory.put(*key, Arc::new(Held { value, stamps, created_ms, fresh, stale }));
        Ok(())
    }

    /// Moves the epochs of tags on: at once on this machine, within the budget in Redis. What Redis did not take, or
    /// took without an answer, stays untold until the housekeeper has sent it again. If other machines share Redis, it then
    /// waits until they were told or trust nothing any more.
    pub(super) async fn move_on(&self, tags: &[Tag]) {
        let began = Instant::now();
        let mut cells: Vec<_> = tags.iter().map(|tag| (tag.cell(), self.machine.epochs.bump(tag.as_str()))).collect();
        // The highest epoch of each cell.
        cells.sort_unstable_by(|one, other| other.cmp(one));
        cells.dedup_by_key(|(cell, _)| *cell);
        let told = self.tell(&cells, self.budget).await;
        self.metrics.operated(CacheOperation::Bump, began.elapsed());
        // Before the housekeeper has adopted an incarnation there is none to move on; what is untold then is told after it.
        if let Err(fault) = told {
            if self.machine.adopted() != 0 {
                self.failed(fault);
            }
            self.wait_for_others(&cells).await;
        }
    }

    /// Waits until these bumps are told, by whomever, or nobody on another machine trusts what he knows.
    async fn wait_for_others(&self, cells: &[(usize, u64)]) {
        let told = || cells.iter().all(|(cell, epoch)| self.machine.remote.told(*cell) >= *epoch);
        let safe = async {
            while !told() && !self.has_lapsed() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let telling = async {
            while self.tell(cells, Duration::from_millis(LEASE_MS)).await.is_err() {
                tokio::time::sleep(TELL_AGAIN).await;
            }
        };
        tokio::select! {
            biased;
            () = safe => {}
            () = telling => {}
        }
    }

    /// Tells Redis of bumps: of cells, and their local epochs.
    pub(super) async fn tell(&self, cells: &[(usize, u64)], budget: Duration) -> Result<(), CacheFault> {
        if cells.is_empty() {
            return Ok(());
        }
        let arguments = |command: &mut Cmd| {
            command.arg(&self.keys.bumps);
            for (cell, _) in cells {
                command.arg(*cell);
            }
        };
        let answer: Answer<Vec<Field>> = self.run(&self.scripts.bump, &[&self.keys.epochs], arguments, budget).await?;
        let numbers = cells.iter().filter_map(|(cell, _)| u16::try_from(*cell).ok());
        let answers::Epochs::At(now) = self.bumped(&answer, numbers) else {
            // The epochs were lost: no entry from before counts, but the next incarnation has to know.
            return Err(CacheFault::Unavailable);
        };
        if now.incarnation != self.machine.adopted() {
            return Err(CacheFault::Unavailable);
        }
        // In this order: who sees that it was told sees the epoch too.
        self.machine.learn(&now);
        for (cell, local_epoch) in cells {
            self.machine.remote.tell(*cell, *local_epoch);
        }
        Ok(())
    }

    fn bumped(&self, answer: &Answer<Vec<Field>>, cells: impl Iterator<Item = u16>) -> answers::Epochs {
        if answer.value.len() == 1 {
            return answers::Epochs::Lost;
        }
        answers::epochs(&answer.value, answer.server, cells)
    }

    /// Ends the incarnation that Redis calls `ending` and begins another: no entry from before is answered. Tells what
    /// counts then, which is another's number if another machine did the same at the same time. `others` are the other
    /// members, should Redis have lost them; if `all_away`, nobody counts as there until he has said so.
    pub(super) async fn renew_epochs(
        &self,
        ending: Field,
        (others, all_away): (&[u64], bool),
        budget: Duration,
    ) -> Result<Answer<Option<u64>>, CacheFault> {
        let beginning: u64 = rand::random::<u64>().max(1);
        let arguments = |command: &mut Cmd| {
            command.arg(&self.keys.bumps).arg(ending.as_deref().unwrap_or_default()).arg(beginning);
            command.arg(if all_away { "away" } else { "" }).arg(others);
        };
        let keys = [self.keys.epochs.as_str()];
        let answer: Answer<Vec<u8>> = self.run(&self.scripts.renew_epochs, &keys, arguments, budget).await?;
        Ok(Answer { value: answers::incarnation(&answer.value), server: answer.server })
    }
}

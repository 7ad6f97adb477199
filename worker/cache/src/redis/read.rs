//! Looking for an entry.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, Pipeline, Value as Reply, pipe};
use task_mcp_redis::{Answer, RedisError, ServerId};
use task_mcp_telemetry::{CacheFault, CacheOperation};

use super::answers::{self, Epochs, Field};
use super::keys::INCARNATION;
use super::members::{self, MEMBERS, server_ms};
use super::memory::Held;
use super::{RedisTier, fault};
use crate::entry::{Sealed, unix_ms};
use crate::tier::{Looked, Stamps};
use crate::{Key, Tag};

/// What an entry may have besides its value: header, name, and the stamps of as many tags as anybody will ever give
/// one.
const ENTRY_EXTRA_BYTES: u64 = 64 * 1024;

/// The incarnation and the epochs.
type Fields = Vec<Field>;

/// The server's time, the members, the bytes of the entry, milliseconds it has left, the epochs, and whether the key of the epochs
/// was made to last; or the errors the server has instead.
type Both = (Reply, Reply, Reply, Reply, Reply, Reply);

/// The same without an entry.
type EpochsOnly = ((u64, u64), Field, Fields, i64);

impl RedisTier {
    /// Looks in memory and, unless this machine is told of every bump and can vouch for what is there, asks Redis: for
    /// the epochs if the entry is in memory, else for both, in one round trip.
    pub(super) async fn find(&self, key: &Key, tags: &[Tag]) -> Looked {
        let held = self.memory.get(key).filter(|held| held.is_about(tags));
        if self.tracked
            && let Some(held) = &held
            && self.machine.vouches_for(&held.stamps)
            && let Some(looked) = held.looked()
        {
            return looked;
        }
        let adopted = self.machine.adopted();
        if adopted == 0 || tags.iter().any(|tag| self.machine.untold(tag.cell())) {
            return Looked::Untrusted;
        }
        let began = Instant::now();
        // What is known before the question: an answer that says less was not overtaken by a bump, it comes from epochs
        // that went back.
        let known = Stamps::of(adopted, tags, |cell| self.machine.remote.known(cell));
        let looked = self.ask(key, held, &known, began).await;
        self.metrics.operated(CacheOperation::Get, began.elapsed());
        looked.unwrap_or_else(|fault| {
            self.failed(fault);
            Looked::Untrusted
        })
    }

    async fn ask(
        &self,
        key: &Key,
        held: Option<Arc<Held>>,
        known: &Stamps,
        began: Instant,
    ) -> Result<Looked, CacheFault> {
        if let Some(held) = held.filter(|held| held.stamps.incarnation == known.incarnation) {
            let question = self.with_epochs(self.question(), known);
            let answer: Answer<EpochsOnly> = self.within(question, began).await?;
            let (time, members, fields, _) = answer.value;
            if !all_there(members, time) {
                return Ok(Looked::Untrusted);
            }
            let Some(now) = self.judge(&fields, answer.server, known, began).await? else {
                return Ok(Looked::Untrusted);
            };
            if held.stamps == now
                && let Some(looked) = held.looked()
            {
                return Ok(looked);
            }
            // Another process may have stored a newer one.
            self.memory.remove(key);
        }
        let mut both = self.question();
        let place = self.keys.entry(key);
        both.cmd("GETRANGE").arg(&place).arg(0).arg(self.entry_bytes.saturating_add(ENTRY_EXTRA_BYTES));
        both.cmd("PTTL").arg(&place);
        // What is of another kind in the place of the entry is no reason not to store one there.
        both.ignore_errors();
        let answer: Answer<Both> = self.within(self.with_epochs(both, known), began).await?;
        let (time, members, bytes, left_ms, fields, lasts) = answer.value;
        understood::<i64>(lasts)?;
        if !all_there(understood(members)?, understood(time)?) {
            return Ok(Looked::Untrusted);
        }
        let fields: Fields = understood(fields)?;
        let Some(now) = self.judge(&fields, answer.server, known, began).await? else {
            return Ok(Looked::Untrusted);
        };
        let entry = || Ok((understood::<Vec<u8>>(bytes)?, understood::<i64>(left_ms)?));
        match entry().and_then(|(bytes, left_ms)| self.unseal(key, &bytes, left_ms, &now)) {
            Ok(Some(held)) => {
                self.memory.put(*key, Arc::clone(&held));
                Ok(held.looked().unwrap_or(Looked::Nothing(now)))
            }
            Ok(None) => Ok(Looked::Nothing(now)),
            Err(fault) => {
                self.failed(fault);
                Ok(Looked::Nothing(now))
            }
        }
    }

    /// What every question begins with: whether all who may have written were there to tell it. The epochs come after that:
    /// a member that comes back has told what it could not before it counts as there.
    fn question(&self) -> Pipeline {
        let mut question = pipe();
        question.cmd("TIME");
        question.cmd("HGET").arg(&self.keys.epochs).arg(MEMBERS);
        question
    }

    /// Adds the question for the epochs. It comes after that for the entry: what was true then is what counts. The last
    /// command changes nothing (the key never expires), but it is a write: a server that would refuse a bump, because
    /// it is no master any more, has too few replicas or a broken disk, refuses the read too.
    fn with_epochs(&self, mut pipeline: Pipeline, stamps: &Stamps) -> Pipeline {
        pipeline.cmd("HMGET").arg(&self.keys.epochs).arg(INCARNATION);
        for (cell, _) in &stamps.epochs {
            pipeline.arg(*cell);
        }
        pipeline.cmd("PERSIST").arg(&self.keys.epochs);
        pipeline
    }

    /// The stamps of an answer, if they can be trusted.
    async fn judge(
        &self,
        fields: &[Field],
        server: ServerId,
        known: &Stamps,
        began: Instant,
    ) -> Result<Option<Stamps>, CacheFault> {
        let now = match answers::epochs(fields, server, known.epochs.iter().map(|(cell, _)| *cell)) {
            Epochs::At(now) => now,
            // The housekeeper begins a new incarnation.
            Epochs::Lost => return Ok(None),
            // Nobody could say what they were.
            Epochs::Nonsense => {
                self.renew_epochs(fields.first().cloned().flatten(), (&[], false), self.left(began)).await?;
                return Err(CacheFault::Corrupt);
            }
        };
        if now.incarnation != known.incarnation {
            return Ok(None);
        }
        if now.epochs.iter().zip(&known.epochs).any(|((_, now), (_, known))| now < known) {
            self.say_went_back();
            self.renew_epochs(fields.first().cloned().flatten(), (&[], false), self.left(began)).await?;
            return Ok(None);
        }
        self.machine.learn(&now);
        Ok(Some(now))
    }

    /// The entry in these bytes, if there is one and it was computed at these stamps.
    fn unseal(&self, key: &Key, bytes: &[u8], left_ms: i64, now: &Stamps) -> Result<Option<Arc<Held>>, CacheFault> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let sealed = Sealed::find(bytes)?;
        if sealed.incarnation != now.incarnation || !sealed.epochs().eq(now.epochs.iter().copied()) {
            return Ok(None);
        }
        let value = sealed.value(key, self.entry_bytes)?;
        let (fresh, stale) = (sealed.fresh, sealed.stale);
        // By the server's clock, which is the same for all machines; without an end, by that of whoever computed it.
        let created_ms = match u64::try_from(left_ms) {
            Ok(left_ms) => {
                let age = (fresh + stale).saturating_sub(Duration::from_millis(left_ms));
                unix_ms().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
            }
            Err(_) => sealed.created_ms,
        };
        Ok(Some(Arc::new(Held { value, stamps: now.clone(), created_ms, fresh, stale })))
    }
}

/// One reply of a pipeline that takes errors as values.
fn understood<T: FromRedisValue>(reply: Reply) -> Result<T, CacheFault> {
    let reply = reply.extract_error().map_err(|error| fault(&RedisError::Server(error)))?;
    T::from_redis_value(reply).map_err(|_| CacheFault::Corrupt)
}

/// A list that was lost, or makes no sense, says of nobody that he is there.
fn all_there(list: Field, time: (u64, u64)) -> bool {
    let list = list.as_deref().and_then(|list| std::str::from_utf8(list).ok());
    list.is_some_and(|list| members::all_there(list, server_ms(time)))
}

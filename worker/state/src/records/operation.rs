//! What a change of a record does, whatever holds it: the same for memory and for the embedded store. Redis has it as a script.

use bytes::Bytes;

use super::record::{Record, Version};

/// One change of one record.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    /// Kind and key.
    pub(crate) path: Vec<u8>,
    pub(crate) condition: Condition,
    pub(crate) change: Change,
    /// It may take the room that is kept for what must not fail.
    pub(crate) is_vital: bool,
}

/// What must be so for a change to be made. A record that has ended is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    Always,
    /// There is no record.
    Absent,
    /// There is one, in this state.
    Is(Version),
}

/// The change.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// The record has this value from now on.
    Put {
        value: Bytes,
        version: Version,
        /// When it ends, in milliseconds since the Unix epoch; `None`: when it did before.
        end_ms: Option<u64>,
    },
    /// There is no record from now on.
    Remove,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// It was made; the record that was removed.
    Done(Option<Record>),
    /// The condition did not hold, or there was nothing to remove; what is there.
    Refused(Option<Record>),
}

/// Records by path.
pub(crate) trait Table {
    type Error;
    fn get(&self, path: &[u8]) -> Result<Option<Record>, Self::Error>;
    /// Puts a record in the place of `before`.
    fn put(&mut self, path: &[u8], record: &Record, before: Option<&Record>) -> Result<(), Self::Error>;
    fn remove(&mut self, path: &[u8], before: &Record) -> Result<(), Self::Error>;
}

impl Write {
    /// How much it adds at most, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match &self.change {
            Change::Put { value, .. } => self.path.len() + value.len(),
            Change::Remove => 0,
        }
    }

    /// Makes the change.
    pub(crate) fn apply<T: Table>(&self, table: &mut T, now_ms: u64) -> Result<Written, T::Error> {
        let stored = table.get(&self.path)?;
        let is_live = stored.as_ref().is_some_and(|record| record.end_ms > now_ms);
        let live = stored.as_ref().filter(|_| is_live);
        let holds = match self.condition {
            Condition::Always => true,
            Condition::Absent => live.is_none(),
            Condition::Is(version) => live.is_some_and(|record| record.version == version),
        };
        if !holds {
            return Ok(Written::Refused(live.cloned()));
        }
        match &self.change {
            Change::Put { value, version, end_ms } => {
                let end_ms = end_ms.or(live.map(|record| record.end_ms)).unwrap_or(now_ms);
                let record = Record { version: *version, end_ms, value: value.clone() };
                table.put(&self.path, &record, stored.as_ref())?;
                Ok(Written::Done(None))
            }
            Change::Remove => {
                if let Some(stored) = &stored {
                    table.remove(&self.path, stored)?;
                }
                let live = stored.filter(|_| is_live);
                Ok(if live.is_some() { Written::Done(live) } else { Written::Refused(None) })
            }
        }
    }
}

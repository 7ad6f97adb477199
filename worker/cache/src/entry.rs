//! The bytes of an entry, the same in every tier.
//!
//! Integers are little endian:
//!
//! ```text
//! 0    magic "TMCE"
//! 4    version of this form, 1
//! 5    flags: 1 the value is an error, 2 the body is compressed (LZ4 block)
//! 6    number of epochs, 16 bits
//! 8    checksum of what follows (XXH3, 64 bits; its seed is the key's word, exclusive or the first eight bytes)
//! 16   incarnation of the epochs
//! 24   when the computation ended, in milliseconds since 1970
//! 32   fresh for so many milliseconds, 32 bits
//! 36   then stale for so many, 32 bits
//! 40   bytes of the first fragment, 32 bits
//! 44   bytes of the second fragment, 32 bits; 0 for an error
//! 48   bytes of the name, 32 bits
//! 52   the epochs, 10 bytes each: cell 16 bits, epoch 64 bits
//!      the name, UTF-8
//!      the body: both fragments
//! ```
//!
//! Bytes from a tier are not trusted: anything may be in them, and what is not an entry of this form is a fault, never a panic.

use std::time::Duration;

use bytes::Bytes;
pub(crate) use task_mcp_scoreboard::unix_ms;
use task_mcp_telemetry::CacheFault;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::tier::Entry;
#[cfg(test)]
use crate::tier::Stamps;
use crate::{Key, Value};

const MAGIC: &[u8; 4] = b"TMCE";
const VERSION: u8 = 1;
const FLAG_ERROR: u8 = 1;
const FLAG_COMPRESSED: u8 = 2;
const CHECKSUM_AT: usize = 8;
const HEADER_BYTES: usize = 52;
const EPOCH_BYTES: usize = 10;
/// A name is for people; what is longer is cut.
const NAME_BYTES: usize = 512;
/// A clock that is set back makes entries look as if they came from the future; so much of that is taken for the same moment.
const CLOCK_SLACK_MS: u64 = 5_000;

/// How an entry stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// It may be answered; its age.
    Fresh(Duration),
    /// It may be answered while it is computed anew; its age.
    Stale(Duration),
    /// It may not be answered.
    Over,
}

/// What the time of an entry is at a moment.
pub(crate) fn freshness(created_ms: u64, fresh: Duration, stale: Duration, now_ms: u64) -> Freshness {
    if created_ms > now_ms.saturating_add(CLOCK_SLACK_MS) {
        return Freshness::Over;
    }
    let age = Duration::from_millis(now_ms.saturating_sub(created_ms));
    if age < fresh {
        Freshness::Fresh(age)
    } else if age < fresh.saturating_add(stale) {
        Freshness::Stale(age)
    } else {
        Freshness::Over
    }
}

/// From when on an entry may not be answered any more, in milliseconds since 1970.
pub(crate) fn over_ms(created_ms: u64, fresh: Duration, stale: Duration) -> u64 {
    created_ms.saturating_add(milliseconds(fresh).into()).saturating_add(milliseconds(stale).into())
}

/// The bytes of an entry under a key. A body of `compress_bytes` or more is compressed if that saves an eighth; 0 compresses none.
///
/// # Errors
/// An entry too large for this form.
pub(crate) fn encode(key: &Key, entry: &Entry, compress_bytes: u64) -> Result<Vec<u8>, CacheFault> {
    let empty = Bytes::new();
    let (first, second, error) = match &entry.value {
        Value::Result { structured, text } => (structured, text, 0),
        Value::Error(error) => (error, &empty, FLAG_ERROR),
    };
    let compressed = compressed(first, second, compress_bytes);
    let name = cut(&entry.name);
    let epochs = u16::try_from(entry.stamps.epochs.len()).map_err(|_| CacheFault::TooLarge)?;
    let body_bytes = compressed.as_ref().map_or(first.len() + second.len(), Vec::len);
    let mut bytes =
        Vec::with_capacity(HEADER_BYTES + entry.stamps.epochs.len() * EPOCH_BYTES + name.len() + body_bytes);
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    bytes.push(error | if compressed.is_some() { FLAG_COMPRESSED } else { 0 });
    bytes.extend_from_slice(&epochs.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&entry.stamps.incarnation.to_le_bytes());
    bytes.extend_from_slice(&entry.created_ms.to_le_bytes());
    bytes.extend_from_slice(&milliseconds(entry.fresh).to_le_bytes());
    bytes.extend_from_slice(&milliseconds(entry.stale).to_le_bytes());
    for length in [first.len(), second.len(), name.len()] {
        bytes.extend_from_slice(&u32::try_from(length).map_err(|_| CacheFault::TooLarge)?.to_le_bytes());
    }
    for (cell, epoch) in &entry.stamps.epochs {
        bytes.extend_from_slice(&cell.to_le_bytes());
        bytes.extend_from_slice(&epoch.to_le_bytes());
    }
    bytes.extend_from_slice(name.as_bytes());
    match &compressed {
        Some(body) => bytes.extend_from_slice(body),
        None => {
            bytes.extend_from_slice(first);
            bytes.extend_from_slice(second);
        }
    }
    let sum = checksum(key, &bytes).to_le_bytes();
    if let Some(place) = bytes.get_mut(CHECKSUM_AT..CHECKSUM_AT + sum.len()) {
        place.copy_from_slice(&sum);
    }
    Ok(bytes)
}

/// An entry as it lies in its tier: looked at without a copy, and not checked before its value is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealed<'a> {
    all: &'a [u8],
    epochs: &'a [u8],
    name: &'a [u8],
    body: &'a [u8],
    flags: u8,
    checksum: u64,
    first_bytes: usize,
    second_bytes: usize,
    /// Which set of epochs its stamps are numbers of.
    pub(crate) incarnation: u64,
    /// When its computation ended, in milliseconds since 1970.
    pub(crate) created_ms: u64,
    pub(crate) fresh: Duration,
    pub(crate) stale: Duration,
}

impl<'a> Sealed<'a> {
    /// Finds the parts.
    ///
    /// # Errors
    /// [`CacheFault::Foreign`] for another form, [`CacheFault::Corrupt`] for bytes that cannot be one.
    pub(crate) fn find(all: &'a [u8]) -> Result<Self, CacheFault> {
        let mut rest = Reader(all);
        if rest.take(MAGIC.len())? != MAGIC || rest.take(1)? != [VERSION] {
            return Err(CacheFault::Foreign);
        }
        let [flags] = rest.array()?;
        let epochs = usize::from(u16::from_le_bytes(rest.array()?));
        let checksum = u64::from_le_bytes(rest.array()?);
        let incarnation = u64::from_le_bytes(rest.array()?);
        let created_ms = u64::from_le_bytes(rest.array()?);
        let [fresh_ms, stale_ms] = [rest.u32()?, rest.u32()?];
        let [first, second, name] = [rest.u32()?, rest.u32()?, rest.u32()?];
        let epochs = rest.take(epochs * EPOCH_BYTES)?;
        let name = rest.take(name as usize)?;
        Ok(Self {
            all,
            epochs,
            name,
            body: rest.0,
            flags,
            checksum,
            first_bytes: first as usize,
            second_bytes: second as usize,
            incarnation,
            created_ms,
            fresh: Duration::from_millis(fresh_ms.into()),
            stale: Duration::from_millis(stale_ms.into()),
        })
    }

    /// Cell and epoch of each tag.
    pub(crate) fn epochs(&self) -> impl Iterator<Item = (u16, u64)> + use<'a> {
        self.epochs.chunks_exact(EPOCH_BYTES).filter_map(|chunk| {
            let (cell, epoch) = chunk.split_first_chunk::<2>()?;
            Some((u16::from_le_bytes(*cell), u64::from_le_bytes(*epoch.first_chunk::<8>()?)))
        })
    }

    /// From when on it may not be answered any more, in milliseconds since 1970.
    pub(crate) fn over_ms(&self) -> u64 {
        over_ms(self.created_ms, self.fresh, self.stale)
    }

    /// Whether it is an error.
    pub(crate) fn is_error(&self) -> bool {
        self.flags & FLAG_ERROR != 0
    }

    /// The tool and what it was asked.
    pub(crate) fn name(&self) -> String {
        String::from_utf8_lossy(self.name).into_owned()
    }

    /// Its value, copied out, if all bytes are those that were stored under this key and it has no more than `limit` bytes.
    ///
    /// # Errors
    /// [`CacheFault::Corrupt`], [`CacheFault::TooLarge`].
    pub(crate) fn value(&self, key: &Key, limit: u64) -> Result<Value, CacheFault> {
        let bytes = self.first_bytes.saturating_add(self.second_bytes);
        if bytes as u64 > limit {
            return Err(CacheFault::TooLarge);
        }
        if checksum(key, self.all) != self.checksum {
            return Err(CacheFault::Corrupt);
        }
        let unpacked;
        let body = if self.flags & FLAG_COMPRESSED == 0 {
            self.body
        } else {
            unpacked = lz4_flex::block::decompress(self.body, bytes).map_err(|_| CacheFault::Corrupt)?;
            &unpacked
        };
        let (first, second) = body.split_at_checked(self.first_bytes).ok_or(CacheFault::Corrupt)?;
        if second.len() != self.second_bytes {
            return Err(CacheFault::Corrupt);
        }
        let first = Bytes::copy_from_slice(first);
        Ok(if self.flags & FLAG_ERROR == 0 {
            Value::Result { structured: first, text: Bytes::copy_from_slice(second) }
        } else {
            Value::Error(first)
        })
    }

    /// All of it, copied out.
    ///
    /// # Errors
    /// As [`Sealed::value`].
    #[cfg(test)]
    pub(crate) fn entry(&self, key: &Key, limit: u64) -> Result<Entry, CacheFault> {
        let value = self.value(key, limit)?;
        let stamps = Stamps { incarnation: self.incarnation, epochs: self.epochs().collect() };
        let Self { created_ms, fresh, stale, .. } = *self;
        Ok(Entry { value, stamps, name: self.name(), created_ms, fresh, stale })
    }
}

fn compressed(first: &[u8], second: &[u8], compress_bytes: u64) -> Option<Vec<u8>> {
    let bytes = first.len() + second.len();
    if compress_bytes == 0 || (bytes as u64) < compress_bytes {
        return None;
    }
    let body = lz4_flex::block::compress(&[first, second].concat());
    (body.len() < bytes - bytes / 8).then_some(body)
}

fn checksum(key: &Key, all: &[u8]) -> u64 {
    let before = all.first_chunk::<CHECKSUM_AT>().copied().map_or(0, u64::from_le_bytes);
    let after = all.get(CHECKSUM_AT + size_of::<u64>()..).unwrap_or_default();
    xxh3_64_with_seed(after, key.word() ^ before)
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(NAME_BYTES)).unwrap_or_default()
}

/// Takes bytes from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], CacheFault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CacheFault::Corrupt)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CacheFault> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(CacheFault::Corrupt)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, CacheFault> {
        Ok(u32::from_le_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn values() -> impl Strategy<Value = Value> {
        let fragment = || {
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                (any::<u8>(), 0_usize..5_000).prop_map(|(byte, count)| vec![byte; count]),
            ]
            .prop_map(Bytes::from)
        };
        prop_oneof![
            (fragment(), fragment()).prop_map(|(structured, text)| Value::Result { structured, text }),
            fragment().prop_map(Value::Error),
        ]
    }

    fn entries() -> impl Strategy<Value = Entry> {
        let stamps = (1_u64.., proptest::collection::vec(any::<(u16, u64)>(), 0..6));
        (values(), stamps, ".{0,40}", any::<u64>(), any::<(u32, u32)>()).prop_map(
            |(value, (incarnation, epochs), name, created_ms, (fresh, stale))| Entry {
                value,
                stamps: Stamps { incarnation, epochs },
                name,
                created_ms,
                fresh: Duration::from_millis(fresh.into()),
                stale: Duration::from_millis(stale.into()),
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_stored_is_read(entry in entries(), compress_bytes in 0_u64..2_000) {
            let key = Key::of(&[b"k"]);
            let bytes = encode(&key, &entry, compress_bytes).unwrap();
            prop_assert_eq!(Sealed::find(&bytes).unwrap().entry(&key, LIMIT).unwrap(), entry);
        }

        #[test]
        fn one_changed_byte_is_noticed(entry in entries(), at in any::<prop::sample::Index>(), change in 1_u8..) {
            let key = Key::of(&[b"k"]);
            let mut bytes = encode(&key, &entry, 1_000).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert!(Sealed::find(&bytes).and_then(|sealed| sealed.value(&key, LIMIT)).is_err());
        }

        #[test]
        fn anything_else_is_a_fault(head in prop::bool::ANY, mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if head {
                bytes.splice(0..bytes.len().min(5), *b"TMCE\x01");
            }
            let found = Sealed::find(&bytes).and_then(|sealed| sealed.entry(&Key::of(&[b"k"]), LIMIT));
            prop_assert!(found.is_err());
        }
    }

    #[test]
    fn another_key_another_form_and_too_much_are_told_apart() {
        let value = Value::Result { structured: Bytes::from(vec![b'x'; 9_000]), text: Bytes::from_static(b"\"x\"") };
        let stamps = Stamps { incarnation: 1, epochs: vec![(3, 4)] };
        let time = Duration::from_secs(1);
        let entry = Entry { value, stamps, name: "é".repeat(400), created_ms: 1, fresh: time, stale: time };
        let key = Key::of(&[b"k"]);
        let mut bytes = encode(&key, &entry, 4_096).unwrap();
        assert!(bytes.len() < 2_000, "{} bytes: compressed", bytes.len());
        assert_eq!(Sealed::find(&bytes).unwrap().name(), "é".repeat(256));
        assert_eq!(Sealed::find(&bytes).unwrap().value(&Key::of(&[b"l"]), LIMIT), Err(CacheFault::Corrupt));
        assert_eq!(Sealed::find(&bytes).unwrap().value(&key, 9_002), Err(CacheFault::TooLarge));
        bytes[4] = 2;
        assert_eq!(Sealed::find(&bytes).unwrap_err(), CacheFault::Foreign);
    }

    #[test]
    fn an_entry_is_fresh_then_stale_then_over() {
        let at = |now_ms| freshness(10_000, Duration::from_secs(2), Duration::from_secs(1), now_ms);
        assert_eq!(at(11_999), Freshness::Fresh(Duration::from_millis(1_999)));
        assert_eq!(at(12_000), Freshness::Stale(Duration::from_secs(2)));
        assert_eq!(at(13_000), Freshness::Over);
        assert_eq!((at(5_000), at(4_999)), (Freshness::Fresh(Duration::ZERO), Freshness::Over), "a clock was set back");
    }
}

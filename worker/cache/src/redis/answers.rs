//! What Redis answers, as far as it makes sense.

use std::str::FromStr;
use std::time::Duration;

use task_mcp_redis::ServerId;
use task_mcp_telemetry::CacheFault;

use super::machine::of_server;
use crate::tier::{Lease, Stamps, Token};

/// What lies in a field of the epochs, where there is one. Somebody else may have put any bytes there.
pub(super) type Field = Option<Vec<u8>>;

/// A number as it lies in Redis, where somebody else may have put any bytes.
pub(super) fn number<T: FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// The incarnation of the epochs, as it lies in Redis: a random number that is not 0.
pub(super) fn incarnation(bytes: &[u8]) -> Option<u64> {
    number(bytes).filter(|number| *number != 0)
}

/// Reads what was answered to who wants a lease: what became of it, a token, and milliseconds left. `None` if it cannot be
/// understood.
pub(super) fn lease(what: i64, token: &[u8], left_ms: i64) -> Option<Result<Lease, CacheFault>> {
    let token = || number(token).map(Token);
    Some(Ok(match what {
        0 => Lease::Held { left: Duration::from_millis(u64::try_from(left_ms).ok()?), holder: token()? },
        1 => Lease::Mine(token()?),
        2 => return Some(Err(CacheFault::Full)),
        _ => return None,
    }))
}

/// The stamps in the answer to HMGET of the incarnation and these cells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Epochs {
    /// They are these.
    At(Stamps),
    /// There is no incarnation: the epochs were lost.
    Lost,
    /// It cannot be understood.
    Nonsense,
}

/// Reads the fields of HMGET: the incarnation, then the epoch of each cell; a cell without one was never bumped.
pub(super) fn epochs(fields: &[Field], server: ServerId, cells: impl Iterator<Item = u16>) -> Epochs {
    let Some((first, fields)) = fields.split_first() else { return Epochs::Nonsense };
    let Some(first) = first else { return Epochs::Lost };
    let Some(incarnation) = incarnation(first) else { return Epochs::Nonsense };
    let mut left = fields.iter();
    let mut stamps = Vec::with_capacity(fields.len());
    for cell in cells {
        let epoch = match left.next() {
            Some(Some(bytes)) => number(bytes),
            Some(None) => Some(0),
            None => None,
        };
        let Some(epoch) = epoch else { return Epochs::Nonsense };
        stamps.push((cell, epoch));
    }
    if left.next().is_some() {
        return Epochs::Nonsense;
    }
    Epochs::At(Stamps { incarnation: of_server(incarnation, server), epochs: stamps })
}

/// Reads what was said on the channel of the bumps: the incarnation, then `cell:epoch` of each cell. `None` if the
/// epochs were lost, or it cannot be understood.
pub(super) fn bumps(payload: &[u8], server: ServerId) -> Option<Stamps> {
    let mut words = std::str::from_utf8(payload).ok()?.split(' ');
    let incarnation = of_server(incarnation(words.next()?.as_bytes())?, server);
    let epoch = |word: &str| {
        let (cell, epoch) = word.split_once(':')?;
        Some((cell.parse().ok()?, epoch.parse().ok()?))
    };
    Some(Stamps { incarnation, epochs: words.map(epoch).collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: ServerId = ServerId(0xff);

    fn fields(texts: &[Option<&str>]) -> Vec<Field> {
        texts.iter().map(|text| text.map(|text| text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn epochs_are_those_of_one_incarnation_at_one_server() {
        let read = |texts: &[Option<&str>]| epochs(&fields(texts), HERE, [3, 9].into_iter());
        let stamps = |incarnation| Stamps { incarnation, epochs: vec![(3, 7), (9, 0)] };
        assert_eq!(read(&[Some("256"), Some("7"), None]), Epochs::At(stamps(0x1ff)));
        assert_eq!(read(&[None, Some("7"), None]), Epochs::Lost);
        for nonsense in [
            &[][..],
            &[Some("256"), Some("7")],
            &[Some("256"), Some("7"), None, None],
            &[Some("0"), Some("7"), None],
            &[Some("x"), Some("7"), None],
            &[Some("256"), Some("-7"), None],
            &[Some("256"), Some("99999999999999999999"), None],
        ] {
            assert_eq!(read(nonsense), Epochs::Nonsense, "{nonsense:?}");
        }
    }

    #[test]
    fn bumps_are_read_as_they_are_said() {
        assert_eq!(bumps(b"256 3:7 9:1", HERE), Some(Stamps { incarnation: 0x1ff, epochs: vec![(3, 7), (9, 1)] }));
        assert_eq!(bumps(b"256", HERE), Some(Stamps { incarnation: 0x1ff, epochs: vec![] }));
        for nonsense in [&b""[..], b"x", b"256 3", b"256 3:", b"256 70000:1", b"256  3:7", b"\xff"] {
            assert_eq!(bumps(nonsense, HERE), None);
        }
    }

    #[test]
    fn a_lease_is_taken_or_held_or_there_is_no_room() {
        let read = |what, token: &[u8], left_ms| lease(what, token, left_ms);
        assert!(matches!(read(1, b"7", 0), Some(Ok(Lease::Mine(Token(7))))));
        let held = read(0, b"7", 30);
        assert!(matches!(held, Some(Ok(Lease::Held { left, holder: Token(7) })) if left.as_millis() == 30));
        assert!(matches!(read(2, b"0", 0), Some(Err(CacheFault::Full))));
        for (what, token, left_ms) in [(3, &b"7"[..], 0), (1, b"x", 0), (0, b"\xff", 9), (0, b"7", -1)] {
            assert!(read(what, token, left_ms).is_none(), "{what} {token:?} {left_ms}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_be_said(
            payload in proptest::collection::vec(any::<u8>(), 0..60),
            fields in any::<Vec<Option<Vec<u8>>>>(),
        ) {
            let _ = bumps(&payload, HERE);
            let _ = epochs(&fields, HERE, [1, 2].into_iter());
        }
    }
}

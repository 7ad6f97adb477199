//! What Redis answers, as far as it makes sense.

use task_mcp_redis::ServerId;

use super::machine::of_server;
use crate::tier::Stamps;

/// The incarnation of the epochs, as it lies in Redis: a random number that is not 0.
pub(super) fn incarnation(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number != 0)
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
pub(super) fn epochs(fields: &[Option<String>], server: ServerId, cells: impl Iterator<Item = u16>) -> Epochs {
    let Some((first, fields)) = fields.split_first() else { return Epochs::Nonsense };
    let Some(first) = first else { return Epochs::Lost };
    let Some(number) = incarnation(first) else { return Epochs::Nonsense };
    let mut left = fields.iter();
    let mut stamps = Vec::with_capacity(fields.len());
    for cell in cells {
        let epoch = match left.next() {
            Some(Some(text)) => text.parse().ok(),
            Some(None) => Some(0),
            None => None,
        };
        let Some(epoch) = epoch else { return Epochs::Nonsense };
        stamps.push((cell, epoch));
    }
    if left.next().is_some() {
        return Epochs::Nonsense;
    }
    Epochs::At(Stamps { incarnation: of_server(number, server), epochs: stamps })
}

/// Reads what was said on the channel of the bumps: the incarnation, then `cell:epoch` of each cell. `None` if the
/// epochs were lost, or it cannot be understood.
pub(super) fn bumps(payload: &[u8], server: ServerId) -> Option<Stamps> {
    let mut words = std::str::from_utf8(payload).ok()?.split(' ');
    let incarnation = of_server(incarnation(words.next()?)?, server);
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

    fn fields(texts: &[Option<&str>]) -> Vec<Option<String>> {
        texts.iter().map(|text| text.map(str::to_owned)).collect()
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

    proptest! {
        #[test]
        fn anything_may_be_said(
            payload in proptest::collection::vec(any::<u8>(), 0..60),
            texts in any::<Vec<Option<String>>>(),
        ) {
            let _ = bumps(&payload, HERE);
            let _ = epochs(&texts, HERE, [1, 2].into_iter());
        }
    }
}

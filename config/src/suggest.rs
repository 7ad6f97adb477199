//! The nearest known key for one that is not known.

use crate::keys::KEYS;

/// The known key most like `path`: the same name in another section, else the fewest edits, if these are few.
pub(crate) fn nearest(path: &str) -> Option<&'static str> {
    // A file may hold keys of any length; nothing that long is a slip of the pen.
    if path.len() > 64 {
        return None;
    }
    let name = last(path);
    let (distance, near) =
        KEYS.iter().map(|key| (edits(path, key.path), key.path)).min_by_key(|(distance, _)| *distance)?;
    if distance <= 2 {
        return Some(near);
    }
    let mut namesakes = KEYS.iter().filter(|key| last(key.path) == name);
    match (namesakes.next(), namesakes.next()) {
        (Some(only), None) => Some(only.path),
        _ => (distance <= path.len() / 3).then_some(near),
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Levenshtein distance, one row at a time.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (done, from) in left.chars().enumerate() {
        let mut diagonal = done;
        let mut before = done + 1;
        for (cell, to) in row.iter_mut().zip(std::iter::once(None).chain(right.chars().map(Some))) {
            let above = *cell;
            *cell = match to {
                None => done + 1,
                Some(to) => (diagonal + usize::from(from != to)).min(above + 1).min(before + 1),
            };
            diagonal = above;
            before = *cell;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_key() {
        for (given, meant) in [
            ("server.workerz", "server.workers"),
            ("sever.workers", "server.workers"),
            ("telemetry.loglevel", "telemetry.log_level"),
            ("server.body_bytes", "limits.body_bytes"),
            ("auth.token", "auth.tokens"),
            ("limits.max_connection", "limits.max_connections"),
        ] {
            assert_eq!(nearest(given), Some(meant), "{given}");
        }
    }

    #[test]
    fn nonsense_finds_nothing() {
        assert_eq!(nearest("colour.of_the_sky"), None);
        assert_eq!(nearest(&"x".repeat(100_000)), None);
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", ""), 3);
        assert_eq!(edits("same", "same"), 0);
    }
}

//! The names a mistyped slug may have meant.

/// At most five names by edit distance, of at most this many looked at.
pub(super) fn nearest(wanted: &str, names: Vec<String>) -> Vec<String> {
    const LOOKED_AT: usize = 10_000;
    let far = wanted.len().div_ceil(2);
    let mut found: Vec<(usize, String)> = names
        .into_iter()
        .filter(|name| !name.starts_with('.') && name.len() <= 64)
        .take(LOOKED_AT)
        .map(|name| (distance(wanted, &name), name))
        .filter(|(distance, _)| *distance <= far)
        .collect();
    found.sort();
    found.into_iter().take(5).map(|(_, name)| name).collect()
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((y, diagonal), above) in b.iter().zip(&row).zip(row.iter().skip(1)) {
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(x != *y)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        let names = ["add-login", "add-logout", "zebra", ".add-logi"].map(str::to_owned).to_vec();
        assert_eq!(nearest("add-logi", names), ["add-login", "add-logout"]);
    }
}

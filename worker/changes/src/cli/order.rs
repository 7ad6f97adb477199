//! The order of `--sort name`: what ICU's root collation does to change names, without ICU.

use std::cmp::Ordering;

/// Punctuation in the order of the root collation; it comes before digits, digits before letters.
const PUNCTUATION: &str = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$";

/// Compares by base letters, then lower case before upper case, then by bytes.
pub(super) fn by_name(a: &str, b: &str) -> Ordering {
    let primary =
        a.chars().flat_map(char::to_lowercase).map(weight).cmp(b.chars().flat_map(char::to_lowercase).map(weight));
    let case = || a.chars().map(char::is_uppercase).cmp(b.chars().map(char::is_uppercase));
    primary.then_with(case).then_with(|| a.cmp(b))
}

fn weight(c: char) -> (u8, u32) {
    match PUNCTUATION.chars().position(|p| p == c) {
        Some(at) => (1, u32::try_from(at).unwrap_or(u32::MAX)),
        None if c.is_whitespace() => (0, u32::from(c)),
        None if c.is_ascii_digit() => (2, u32::from(c)),
        None => (3, u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn punctuation_digits_letters_case() {
        let mut names = ["ab", "A-b", "c1", "c-2", "c_2", "a-b", ".h", "c-10", "1"];
        names.sort_by(|a, b| by_name(a, b));
        assert_eq!(names, [".h", "1", "a-b", "A-b", "ab", "c_2", "c-10", "c-2", "c1"]);
    }
}

//! The order of `--sort name`: what ICU's root collation does to change names, without ICU.

use std::cmp::Ordering;

/// Punctuation in the order of the root collation; it comes before digits, digits before letters.
const PUNCTUATION: &str = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$";

/// Latin letters with a mark, by base letter; the position in the text is the order of the marks. Letters of other scripts
/// sort by code point behind these.
const ACCENTED: [(char, &str); 19] = [
    ('a', "áàăâåäãąā"),
    ('c', "ćĉčċç"),
    ('d', "ď"),
    ('e', "éèĕêěëėęē"),
    ('g', "ğĝġģ"),
    ('h', "ĥ"),
    ('i', "íìĭîïĩįī"),
    ('j', "ĵ"),
    ('k', "ķ"),
    ('l', "ĺľļ"),
    ('n', "ńňñņ"),
    ('o', "óòŏôöőõō"),
    ('r', "ŕřŗ"),
    ('s', "śŝšşș"),
    ('t', "ťţț"),
    ('u', "úùŭûůüűũųū"),
    ('w', "ŵ"),
    ('y', "ýŷÿ"),
    ('z', "źžż"),
];

/// Compares by base letters, then marks, then lower case before upper case, then by bytes.
pub(super) fn by_name(a: &str, b: &str) -> Ordering {
    let primary = letters(a).map(|(base, _)| weight(base)).cmp(letters(b).map(|(base, _)| weight(base)));
    let accents = || letters(a).map(|(_, accent)| accent).cmp(letters(b).map(|(_, accent)| accent));
    let case = || a.chars().map(char::is_uppercase).cmp(b.chars().map(char::is_uppercase));
    primary.then_with(accents).then_with(case).then_with(|| a.cmp(b))
}

/// Each letter in lower case as base letter and mark.
fn letters(text: &str) -> impl Iterator<Item = (char, usize)> + '_ {
    text.chars().flat_map(char::to_lowercase).map(|c| {
        let marked = |(base, all): &(char, &str)| all.chars().position(|x| x == c).map(|at| (*base, at + 1));
        if c.is_ascii() { (c, 0) } else { ACCENTED.iter().find_map(marked).unwrap_or((c, 0)) }
    })
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

    #[test]
    fn marked_letters_sort_with_their_base() {
        let mut names = ["zz", "Über", "éa", "ea", "Éb", "eb", "auth", "B"];
        names.sort_by(|a, b| by_name(a, b));
        assert_eq!(names, ["auth", "B", "ea", "éa", "eb", "Éb", "Über", "zz"]);
    }
}

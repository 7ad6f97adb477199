//! JavaScript string semantics: white space, `.` in patterns, lengths in UTF-16 units.

use jiff::Timestamp;
use regex::Regex;

/// White space as JavaScript's `\s` and `trim()` see it: Unicode `White_Space` without U+0085, with U+FEFF.
pub(crate) fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}

/// `String.prototype.trim`.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `String.prototype.trimEnd`.
pub(crate) fn trim_end(text: &str) -> &str {
    text.trim_end_matches(is_space)
}

/// Whether nothing but white space is left.
pub(crate) fn is_blank(text: &str) -> bool {
    text.chars().all(is_space)
}

/// `String.prototype.length`.
pub(crate) fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Drops one leading byte order mark and turns `\r\n` and lone `\r` into `\n`.
pub(crate) fn normalise(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// `Date.prototype.toISOString` of milliseconds since the epoch.
pub(crate) fn iso_ms(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |t| format!("{t:.3}"))
}

/// Compiles a JavaScript pattern: `\s`, `\S`, `\b`, `.` keep their JavaScript meaning, and `(?i)` in front folds ASCII
/// letters only. Just the syntax this crate uses; classes may hold `\s`.
pub(crate) fn pattern(source: &str) -> Regex {
    #[expect(
        clippy::expect_used,
        reason = "every pattern is a literal, compiled by the tests of the module that has it"
    )]
    Regex::new(&translate(source)).expect("a literal pattern")
}

const SPACE: &str = r"\t-\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}";

fn translate(source: &str) -> String {
    let (fold_case, source) = match source.strip_prefix("(?i)") {
        Some(rest) => (true, rest),
        None => (false, source),
    };
    let mut out = String::new();
    let mut in_class = false;
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('s') if in_class => out.push_str(SPACE),
                Some('s') => out.push_str(&format!("[{SPACE}]")),
                Some('S') => out.push_str(&format!("[^{SPACE}]")),
                Some('b') => out.push_str(r"(?-u:\b)"),
                Some('d') => out.push_str("[0-9]"),
                Some(other) => out.extend(['\\', other]),
                None => {}
            },
            '.' if !in_class => out.push_str(r"[^\n\r\x{2028}\x{2029}]"),
            '[' => {
                in_class = true;
                out.push(c);
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            _ if fold_case && !in_class && c.is_ascii_alphabetic() => {
                out.extend(['[', c.to_ascii_lowercase(), c.to_ascii_uppercase(), ']']);
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trim_keeps_next_line_and_drops_the_byte_order_mark() {
        assert_eq!(trim("\u{feff}\u{a0}a\u{85}\u{2028}"), "a\u{85}");
    }

    #[test]
    fn the_dot_stops_at_a_line_separator() {
        let header = pattern(r"(?i)^##\s+(.+)$");
        assert!(header.is_match("##\u{a0}A"));
        assert!(!header.is_match("## a\u{2028}b"));
    }

    #[test]
    fn case_folding_is_ascii_only() {
        // U+212A KELVIN SIGN folds to k in Unicode, not in a JavaScript /i without /u.
        let word = pattern(r"(?i)^k$");
        assert!(word.is_match("K") && !word.is_match("\u{212a}"));
    }

    #[test]
    fn lengths_count_surrogates() {
        assert_eq!(utf16_len("a😀"), 3);
    }
}

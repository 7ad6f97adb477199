//! The text of a requirement: its statement, its keyword, its scenarios.

use std::sync::LazyLock;

use regex::Regex;

use crate::text::{Lines, is_blank, pattern, trim};

static HEADING: LazyLock<Regex> = LazyLock::new(|| pattern(r"^#{1,6}\s"));
static SCENARIO: LazyLock<Regex> = LazyLock::new(|| pattern(r"^####\s+"));
static SCENARIO_END: LazyLock<Regex> = LazyLock::new(|| pattern(r"^#{1,4}\s"));
static METADATA: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\*\*[^*]+\*\*:"));
static KEYWORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b(SHALL|MUST)\b"));

/// The move-it advice of several messages.
pub(super) const MOVE_KEYWORD: &str = "contain SHALL or MUST in the requirement body, not only in the header. Move the \
    SHALL/MUST statement to the line immediately after the \"### Requirement: ...\" header.";

/// The statement below a requirement header, up to the first heading. Metadata lines (`**Name**:`) count only when
/// there is nothing else.
pub(super) fn statement(raw: &str) -> String {
    let lines = Lines::new(raw);
    let texts: Vec<&str> = lines
        .open()
        .filter(|(i, _)| *i > 0)
        .take_while(|(_, line)| !HEADING.is_match(line))
        .map(|(_, line)| trim(line))
        .filter(|line| !line.is_empty())
        .collect();
    let plain: Vec<&str> = texts.iter().copied().filter(|line| !METADATA.is_match(line)).collect();
    if plain.is_empty() { texts.join("\n") } else { plain.join("\n") }
}

/// Whether the text has SHALL or MUST as a word in capitals.
pub(super) fn has_keyword(text: &str) -> bool {
    KEYWORD.is_match(text)
}

/// Scenario headers in a block: with text below, and bare.
pub(super) fn scenarios(raw: &str) -> (usize, usize) {
    let lines = Lines::new(raw);
    let ends: Vec<usize> = lines.open().filter(|(_, l)| SCENARIO_END.is_match(l)).map(|(i, _)| i).collect();
    let (mut full, mut bare) = (0, 0);
    for (at, _) in lines.open().filter(|(_, line)| SCENARIO.is_match(line)) {
        let next = ends.partition_point(|i| *i <= at);
        let end = ends.get(next).copied().unwrap_or(lines.len());
        if is_blank(&lines.join(at + 1, end)) {
            bare += 1;
        } else {
            full += 1;
        }
    }
    (full, bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_counts_only_when_alone() {
        assert_eq!(statement("### R\n**Note**: x\nIt SHALL.\n\n#### S"), "It SHALL.");
        assert_eq!(statement("### R\n**Note**: x\n"), "**Note**: x");
    }

    #[test]
    fn the_keyword_is_a_word_in_capitals() {
        assert!(has_keyword("it MUST, really") && !has_keyword("SHALLOW") && !has_keyword("shall"));
    }

    #[test]
    fn a_bare_scenario_header_is_none() {
        assert_eq!(scenarios("### R\n#### A\n\n#### B\n- x\n"), (1, 1));
    }
}

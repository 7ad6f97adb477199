//! A main spec as the merge sees it.

use std::sync::LazyLock;

use regex::Regex;

use crate::delta::Block;
use crate::text::{Lines, key, normalise, pattern, requirement_name, trim_end};

static REQUIREMENTS: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^##\s+Requirements\s*$"));
static NEXT: LazyLock<Regex> = LazyLock::new(|| pattern(r"^##\s+"));

/// The parts of a main spec; joined again they are the document, but for blank lines.
#[derive(Debug)]
pub(crate) struct MainSpec {
    /// Everything above the requirements header.
    pub(crate) before: String,
    /// The header line as written.
    pub(crate) header: String,
    /// What stands between the header and the first requirement, right-trimmed.
    pub(crate) preamble: String,
    /// The requirements in document order.
    pub(crate) blocks: Vec<Block>,
    /// Everything from the next level-2 heading on.
    pub(crate) after: String,
}

impl MainSpec {
    /// Splits a document. Without a requirements header the whole of it is `before`.
    pub(crate) fn parse(original: &str) -> Self {
        let text = normalise(original);
        let lines = Lines::new(&text);
        let Some((at, header)) = lines.open().find(|(_, line)| REQUIREMENTS.is_match(line)) else {
            return Self {
                before: trim_end(original).to_owned(),
                header: "## Requirements".to_owned(),
                preamble: String::new(),
                blocks: Vec::new(),
                after: String::new(),
            };
        };
        let end = lines.open().find(|(i, line)| *i > at && NEXT.is_match(line)).map_or(lines.len(), |(i, _)| i);
        let starts: Vec<(usize, String)> = lines
            .open()
            .filter(|(i, _)| (at + 1..end).contains(i))
            .filter_map(|(i, line)| requirement_name(line).map(|name| (i, key(&name))))
            .collect();
        let first = starts.first().map_or(end, |(i, _)| *i);
        let ends = starts.iter().skip(1).map(|(i, _)| *i).chain([end]);
        let blocks = starts
            .iter()
            .zip(ends)
            .map(|((from, name), to)| Block { name: name.clone(), raw: trim_end(&lines.join(*from, to)).to_owned() })
            .collect();
        Self {
            before: lines.join(0, at),
            header: header.to_owned(),
            preamble: trim_end(&lines.join(at + 1, first)).to_owned(),
            blocks,
            after: lines.join(end, lines.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn stray_headings_ride_with_their_block() {
        let spec = MainSpec::parse("# T\n## requirements \nintro\n### Requirement: A\na\n### Note\nn\n\n## End\ne");
        assert_eq!(spec.preamble, "intro");
        assert_eq!(spec.blocks[0].raw, "### Requirement: A\na\n### Note\nn");
        assert_eq!(spec.after, "## End\ne");
    }

    #[test]
    fn without_the_section_the_original_stays() {
        let spec = MainSpec::parse("# T\r\nx\r\n");
        assert_eq!((spec.before.as_str(), spec.header.as_str()), ("# T\r\nx", "## Requirements"));
    }
}

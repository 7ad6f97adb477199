//! Reading a delta spec: what one change says about one capability.

use std::sync::LazyLock;

use regex::Regex;

use crate::text::{Lines, blank_comments, is_blank, key, norm, normalise, pattern, requirement_name, trim, trim_end};

/// One of the four sections a delta spec is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// New requirements.
    Added,
    /// Requirements replaced as a whole.
    Modified,
    /// Requirements taken out.
    Removed,
    /// Requirements that get another name.
    Renamed,
}

/// A parsed delta spec. Names are normalised; lines count from 1.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// The sections present, in the order of [`Section::ALL`].
    pub sections: Vec<Section>,
    /// Blocks below `## ADDED Requirements`, in document order.
    pub added: Vec<Block>,
    /// Blocks below `## MODIFIED Requirements`.
    pub modified: Vec<Block>,
    /// Names below `## REMOVED Requirements`.
    pub removed: Vec<String>,
    /// Complete pairs below `## RENAMED Requirements`.
    pub renamed: Vec<Rename>,
    /// `FROM:` without `TO:` and the reverse.
    pub unpaired: Vec<Unpaired>,
    /// Level-3 headings in ADDED and MODIFIED that are no requirement headers.
    pub skipped: Vec<Skipped>,
    /// Requirement headers outside the four sections.
    pub orphans: Vec<Orphan>,
    /// The body of `## Purpose` when it has prose.
    pub purpose: Option<String>,
}

/// A requirement: header line and all that follows it, right-trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The normalised name.
    pub name: String,
    /// The lines as written.
    pub raw: String,
}

/// A complete `FROM:`/`TO:` pair.
#[derive(Clone, Debug)]
pub struct Rename {
    /// The present name.
    pub from: String,
    /// The name it gets.
    pub to: String,
}

/// Half of a rename.
#[derive(Clone, Debug)]
pub struct Unpaired {
    /// `FROM` or `TO`: the side that is there.
    pub side: &'static str,
    /// The side that is missing.
    pub missing: &'static str,
    /// The name on the line.
    pub name: String,
    /// Where it stands.
    pub line: usize,
}

/// A level-3 heading the delta reader does not take for a requirement.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// The section it is in.
    pub section: Section,
    /// The heading's text without the hashes.
    pub title: String,
    /// Where it stands.
    pub line: usize,
}

/// A requirement nobody applies.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// Its name.
    pub name: String,
    /// The title of the section it is in; `None` above the first one.
    pub section: Option<String>,
    /// Where it stands.
    pub line: usize,
}

static SECTION: LazyLock<Regex> = LazyLock::new(|| pattern(r"^##\s+(.+)$"));
static HEADING3: LazyLock<Regex> = LazyLock::new(|| pattern(r"^###\s+(.+?)\s*$"));
static PURPOSE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^##\s+Purpose\s*$"));
static NEXT: LazyLock<Regex> = LazyLock::new(|| pattern(r"^##\s+"));
static BULLET: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*[-*+]\s*`?###\s*Requirement:\s*(.+?)`?\s*$"));
static FROM: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*[-*+]?\s*FROM:\s*`?###\s*Requirement:\s*(.+?)`?\s*$"));
static TO: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*[-*+]?\s*TO:\s*`?###\s*Requirement:\s*(.+?)`?\s*$"));
static HAS_SECTION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)^##\s+(ADDED|MODIFIED|REMOVED|RENAMED)\s+Requirements"));

impl Section {
    /// All four, in the order messages list them.
    pub const ALL: [Self; 4] = [Self::Added, Self::Modified, Self::Removed, Self::Renamed];

    /// The word in the heading.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Removed => "REMOVED",
            Self::Renamed => "RENAMED",
        }
    }

    /// `## ADDED  Requirements` with two blanks is no delta section.
    fn from_title(title: &str) -> Option<Self> {
        let title = title.to_lowercase();
        Self::ALL.into_iter().find(|s| title == format!("{} requirements", s.word().to_lowercase()))
    }
}

impl Delta {
    /// Reads a delta spec. Never fails: what cannot be read is in `unpaired`, `skipped` and `orphans`.
    pub fn parse(text: &str) -> Self {
        let text = normalise(text);
        let mut reader = Reader::default();
        let lines = Lines::new(&text);
        for (i, line, masked) in lines.iter() {
            reader.feed(i + 1, line, masked);
        }
        reader.close_section();
        let mut delta = reader.delta;
        delta.sections = Section::ALL.into_iter().filter(|s| delta.sections.contains(s)).collect();
        delta.unpaired.sort_by_key(|u| u.line);
        delta.purpose = purpose(&text);
        delta
    }

    /// The same with the names in the form they are compared by.
    pub(crate) fn keyed(&self) -> Self {
        let blocks =
            |blocks: &[Block]| blocks.iter().map(|b| Block { name: key(&b.name), raw: b.raw.clone() }).collect();
        let pair = |pair: &Rename| Rename { from: key(&pair.from), to: key(&pair.to) };
        Self {
            added: blocks(&self.added),
            modified: blocks(&self.modified),
            removed: self.removed.iter().map(|name| key(name)).collect(),
            renamed: self.renamed.iter().map(pair).collect(),
            ..self.clone()
        }
    }

    /// Whether there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty() && self.renamed.is_empty()
    }
}

/// Whether the raw text has a line that looks like a delta section, fences and spacing aside.
pub fn mentions_sections(text: &str) -> bool {
    text.split(['\n', '\r', '\u{2028}', '\u{2029}']).any(|line| HAS_SECTION.is_match(line))
}

/// The body of the first `## Purpose`, trimmed, if it has prose outside fences and comments. Expects normalised text.
pub(crate) fn purpose(text: &str) -> Option<String> {
    let blanked = blank_comments(text);
    let shape = Lines::new(&blanked);
    let start = shape.open().find(|(_, line)| PURPOSE.is_match(line))?.0 + 1;
    let end = shape.open().find(|(i, line)| *i >= start && NEXT.is_match(line)).map_or(shape.len(), |(i, _)| i);
    let prose = shape.open().any(|(i, line)| (start..end).contains(&i) && !is_blank(line));
    prose.then(|| trim(&Lines::new(text).join(start, end)).to_owned())
}

/// Where the reader is and what it has found.
#[derive(Default)]
struct Reader {
    delta: Delta,
    title: Option<String>,
    section: Option<Section>,
    block: Option<(String, Vec<String>)>,
    from: Option<(String, usize)>,
}

impl Reader {
    fn feed(&mut self, number: usize, line: &str, masked: bool) {
        if masked {
            self.keep(line);
            return;
        }
        if let Some(title) = SECTION.captures(line).and_then(|c| c.get(1)) {
            self.close_section();
            let title = trim(title.as_str()).to_owned();
            self.section = Section::from_title(&title);
            self.delta.sections.extend(self.section);
            self.title = Some(title);
            return;
        }
        match self.section {
            Some(section @ (Section::Added | Section::Modified)) => self.in_blocks(section, number, line),
            Some(Section::Removed) => self.in_removed(line),
            Some(Section::Renamed) => self.in_renamed(number, line),
            None => {
                if let Some(name) = requirement_name(line) {
                    self.delta.orphans.push(Orphan { name, section: self.title.clone(), line: number });
                }
            }
        }
    }

    fn keep(&mut self, line: &str) {
        if let Some((_, lines)) = &mut self.block {
            lines.push(line.to_owned());
        }
    }

    fn in_blocks(&mut self, section: Section, number: usize, line: &str) {
        if let Some(name) = requirement_name(line) {
            self.close_block();
            self.block = Some((name, vec![line.to_owned()]));
            return;
        }
        if let Some(title) = HEADING3.captures(line).and_then(|c| c.get(1)) {
            self.delta.skipped.push(Skipped { section, title: title.as_str().to_owned(), line: number });
        }
        self.keep(line);
    }

    fn in_removed(&mut self, line: &str) {
        let bullet = || BULLET.captures(line).and_then(|c| c.get(1)).map(|name| norm(name.as_str()));
        self.delta.removed.extend(requirement_name(line).or_else(bullet));
    }

    fn in_renamed(&mut self, number: usize, line: &str) {
        if let Some(name) = FROM.captures(line).and_then(|c| c.get(1)) {
            self.drop_from();
            self.from = Some((norm(name.as_str()), number));
        } else if let Some(name) = TO.captures(line).and_then(|c| c.get(1)) {
            let to = norm(name.as_str());
            match self.from.take() {
                Some((from, _)) => self.delta.renamed.push(Rename { from, to }),
                None => {
                    self.delta.unpaired.push(Unpaired { side: "TO", missing: "FROM", name: to, line: number });
                }
            }
        }
    }

    fn drop_from(&mut self) {
        if let Some((name, line)) = self.from.take() {
            self.delta.unpaired.push(Unpaired { side: "FROM", missing: "TO", name, line });
        }
    }

    fn close_block(&mut self) {
        if let Some((name, lines)) = self.block.take() {
            let block = Block { name, raw: trim_end(&lines.join("\n")).to_owned() };
            match self.section {
                Some(Section::Added) => self.delta.added.push(block),
                _ => self.delta.modified.push(block),
            }
        }
    }

    fn close_section(&mut self) {
        self.close_block();
        self.drop_from();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeated_sections_are_read_in_order_and_loose_text_between_them_is_dropped() {
        let delta = Delta::parse(
            "## ADDED Requirements\n### Requirement: A\na\n## Other\no\n## added requirements\nloose\n### Requirement: B\nb\n",
        );
        let raws: Vec<&str> = delta.added.iter().map(|b| b.raw.as_str()).collect();
        assert_eq!(raws, ["### Requirement: A\na", "### Requirement: B\nb"]);
    }

    #[test]
    fn a_pair_never_spans_two_sections() {
        let delta = Delta::parse(
            "## RENAMED Requirements\nFROM: ### Requirement: A\n## RENAMED Requirements\n- TO: `### Requirement: B`\n",
        );
        assert!(delta.renamed.is_empty());
        let found: Vec<_> = delta.unpaired.iter().map(|u| (u.side, u.line)).collect();
        assert_eq!(found, [("FROM", 2), ("TO", 4)]);
    }

    #[test]
    fn fenced_headers_are_no_structure() {
        let delta = Delta::parse("## ADDED Requirements\n### Requirement: A\n```\n## REMOVED Requirements\n```\nx");
        assert_eq!(delta.sections, [Section::Added]);
        assert!(delta.added[0].raw.ends_with("```\nx"));
    }

    #[test]
    fn a_commented_purpose_is_none() {
        assert_eq!(Delta::parse("## Purpose\n<!-- soon -->\n## ADDED Requirements\n").purpose, None);
        assert_eq!(Delta::parse("## Purpose\n\nWhy.\n## X\n").purpose.as_deref(), Some("Why."));
    }

    proptest! {
        #[test]
        fn any_text_parses(text in "(#{1,4} ?|FROM: |TO: |Requirement: |ADDED Requirements|```|\n|\r|<!--|[- a\u{2028}\u{feff}é])*") {
            let delta = Delta::parse(&text);
            for block in &delta.added {
                prop_assert!(!block.raw.ends_with('\n'));
            }
        }
    }
}

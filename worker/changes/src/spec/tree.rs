//! The heading tree a main spec is validated by.

use std::sync::LazyLock;

use regex::Regex;

use crate::text::{Lines, is_blank, normalise, pattern, trim};

static HEADING: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(#{1,6})\s+(.+)$"));

/// A heading with everything up to the next one of its level or above.
#[derive(Clone, Debug)]
pub(crate) struct Heading {
    level: usize,
    /// The trimmed title.
    pub(crate) title: String,
    /// The text below it, deeper headings included.
    pub(crate) content: String,
    /// Line of the heading, from 1.
    line: usize,
    /// The headings directly below.
    pub(crate) children: Vec<Heading>,
}

/// The parts validation asks for.
#[derive(Debug)]
pub(crate) struct ParsedSpec {
    /// The text below the Purpose heading, deeper headings included; not blank.
    pub(crate) purpose: String,
    /// Line of that heading, from 1.
    pub(crate) purpose_line: usize,
    /// Every child heading of Requirements, whatever its title.
    pub(crate) requirements: Vec<Heading>,
}

impl ParsedSpec {
    /// Reads a main spec. The error names the section that is missing.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = normalise(text);
        let tree = tree(&text);
        let purpose = find(&tree, "purpose").filter(|p| !is_blank(&p.content)).ok_or("Purpose")?;
        let requirements = find(&tree, "requirements").ok_or("Requirements")?;
        Ok(Self {
            purpose_line: purpose.line,
            purpose: purpose.content.clone(),
            requirements: requirements.children.clone(),
        })
    }
}

impl Heading {
    /// The children that have text.
    pub(crate) fn scenarios(&self) -> usize {
        self.children.iter().filter(|child| !is_blank(&child.content)).count()
    }
}

fn tree(text: &str) -> Vec<Heading> {
    let lines = Lines::new(text);
    let heads: Vec<(usize, usize, String)> = lines
        .open()
        .filter_map(|(i, line)| {
            let found = HEADING.captures(line)?;
            Some((i, found.get(1)?.len(), trim(found.get(2)?.as_str()).to_owned()))
        })
        .collect();
    let mut flat = Vec::with_capacity(heads.len());
    for (n, (line, level, title)) in heads.iter().enumerate() {
        let end = heads.iter().skip(n + 1).find(|(_, l, _)| l <= level).map_or(lines.len(), |(i, _, _)| *i);
        let content = lines.join(line + 1, end);
        flat.push(Heading { level: *level, title: title.clone(), content, line: line + 1, children: Vec::new() });
    }
    nest(flat)
}

/// Hangs each heading below the nearest one before it with a lower level.
fn nest(flat: Vec<Heading>) -> Vec<Heading> {
    let mut roots: Vec<Heading> = Vec::new();
    let mut open: Vec<Heading> = Vec::new();
    let close = |open: &mut Vec<Heading>, roots: &mut Vec<Heading>| {
        if let Some(done) = open.pop() {
            match open.last_mut() {
                Some(parent) => parent.children.push(done),
                None => roots.push(done),
            }
        }
    };
    for heading in flat {
        while open.last().is_some_and(|top| top.level >= heading.level) {
            close(&mut open, &mut roots);
        }
        open.push(heading);
    }
    while !open.is_empty() {
        close(&mut open, &mut roots);
    }
    roots
}

/// The first heading of that title, depth first, case aside.
fn find<'a>(headings: &'a [Heading], title: &str) -> Option<&'a Heading> {
    headings.iter().find_map(|heading| {
        if heading.title.to_lowercase() == title { Some(heading) } else { find(&heading.children, title) }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn purpose_and_requirements_are_found_at_any_level() {
        let spec = ParsedSpec::parse("# Purpose\nfoo\n## Requirements\n### Stray\nx\n#### S\ny\n#### T\n").unwrap();
        assert_eq!(spec.requirements[0].title, "Stray");
        assert_eq!(spec.requirements[0].scenarios(), 1);
        assert!(spec.purpose.contains("## Requirements"));
    }

    #[test]
    fn a_blank_purpose_is_missing() {
        assert_eq!(ParsedSpec::parse("## Purpose\n\n## Requirements\n").unwrap_err(), "Purpose");
        assert_eq!(ParsedSpec::parse("## Purpose\nx\n").unwrap_err(), "Requirements");
    }
}

//! Deleting a capability whose last requirement went.
//!
//! Deleting a file takes everything in it along, so it happens only when the change declares it and nothing in the file
//! is unaccounted for.

use std::sync::LazyLock;

use regex::Regex;

use super::SpecUpdate;
use crate::metadata::Metadata;
use crate::spec::MainSpec;
use crate::text::{Lines, is_blank, pattern, trim};
use crate::validate::{Issue, Level, NO_REQUIREMENTS};

/// What to do with a rebuilt spec that does not pass.
pub(super) enum Decision {
    Retire,
    /// There is nothing to delete and nothing to write.
    Skip,
    /// Refuse, with a hint if retiring was near.
    Refuse(Option<String>),
}

static HEADING: LazyLock<Regex> = LazyLock::new(|| pattern(r"^#{1,6}(\s|$)"));
static TITLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^#\s+.+$"));
static PURPOSE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^##\s+Purpose\s*$"));
static SCENARIO: LazyLock<Regex> = LazyLock::new(|| pattern(r"^####\s+"));
static BULLET: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*[-*+]\s"));

/// Decides by the issues of the rebuilt spec, the change's marker and the text that would be lost.
pub(super) fn decide(update: &SpecUpdate, issues: &[Issue], metadata: &Metadata) -> Decision {
    let mut errors = issues.iter().filter(|issue| issue.level == Level::Error);
    let only = matches!((errors.next(), errors.next()), (Some(error), None) if error.message == NO_REQUIREMENTS);
    if only && update.before.is_none() && metadata.retire_capabilities {
        return Decision::Skip;
    }
    if !only || update.merged.counts.removed == 0 {
        return Decision::Refuse(None);
    }
    let id = &update.capability;
    let left = unaccounted(update);
    let why = metadata.retire_error.as_ref();
    let note = why.map(|why| format!(" The marker present now cannot be honored ({why}).")).unwrap_or_default();
    let content = format!(
        "the spec holds content the merge cannot safely account for and deleting the file would take with it: {}. Move it \
         into `## Purpose` or a canonical requirement, or delete the spec by hand",
        excerpt(&left)
    );
    Decision::Refuse(Some(match (metadata.retire_capabilities, left.is_empty()) {
        (true, true) => return Decision::Retire,
        (true, false) => format!("'{id}' declares retire_capabilities, but {content}."),
        (false, true) => format!(
            "This change removes the last requirement '{id}' has. To retire the capability and delete its spec, add \
             `retire_capabilities: true` to the change's .openspec.yaml (alongside its `schema:`, which that file \
             requires), then rerun.{note}"
        ),
        (false, false) => format!(
            "This change removes the last requirement '{id}' has, so the rebuilt spec has none left and cannot be \
             written. Retiring the capability is what archive does instead, and it is refused while {content}, then \
             rerun.{note}"
        ),
    }))
}

/// The first lines, quoted, cut and without control characters, and how many more there are.
fn excerpt(lines: &[String]) -> String {
    const LINES: usize = 3;
    const CHARS: usize = 200;
    let quote = |line: &String| {
        let mut text: String = line.chars().take(CHARS).map(|c| if c.is_ascii_control() { '?' } else { c }).collect();
        if line.chars().nth(CHARS).is_some() {
            text.push('…');
        }
        format!("\"{text}\"")
    };
    let mut shown: Vec<String> = lines.iter().take(LINES).map(quote).collect();
    if let Some(more) = lines.len().checked_sub(LINES).filter(|more| *more > 0) {
        shown.push(format!("and {more} more line(s)"));
    }
    shown.join(", ")
}

/// Lines besides title, Purpose, requirement statements and scenario bullets, trimmed.
fn unaccounted(update: &SpecUpdate) -> Vec<String> {
    let spec = MainSpec::parse(&update.merged.text);
    let mut left = Vec::new();
    let mut keep = |line: &str| left.push(trim(line).to_owned());
    let mut in_purpose = false;
    for (_, line) in Lines::new(&spec.before).open().filter(|(_, line)| !is_blank(line)) {
        if PURPOSE.is_match(line) {
            in_purpose = true;
        } else if TITLE.is_match(line) {
            in_purpose = false;
        } else if line.starts_with("## ") || !in_purpose {
            in_purpose = false;
            keep(line);
        }
    }
    for part in [&spec.preamble, &spec.after] {
        Lines::new(part).iter().filter(|(_, line, _)| !is_blank(line)).for_each(|(_, line, _)| keep(line));
    }
    for raw in &update.merged.removed {
        let mut place = Place::Statement;
        for (i, line, masked) in Lines::new(raw).iter().filter(|(_, line, _)| !is_blank(line)) {
            place = match place {
                _ if i == 0 => Place::Statement,
                _ if masked => Place::Loose,
                _ if SCENARIO.is_match(line) => Place::Scenario,
                _ if HEADING.is_match(line) => Place::Loose,
                Place::Scenario if !BULLET.is_match(line) => Place::Loose,
                same => same,
            };
            if place == Place::Loose {
                keep(line);
            }
        }
    }
    left
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Statement,
    Scenario,
    Loose,
}

//! The checks of one main spec.

use std::sync::LazyLock;

use regex::Regex;

use super::body::{MOVE_KEYWORD, has_keyword, statement};
use super::delta::should;
use super::{Issue, Level};
use crate::merge::PURPOSE_MIN_UNITS;
use crate::spec::{MainSpec, ParsedSpec, structure_errors};
use crate::text::{is_blank, pattern, trim, utf16_len};

/// The error a spec without requirements gets; retiring a capability hangs on it.
pub const NO_REQUIREMENTS: &str = "Spec must have at least one requirement";

/// The CLI calls a requirement's text longer than this very long.
const REQUIREMENT_MAX_UNITS: usize = 500;

const NO_SCENARIO: &str = "Requirement must have at least one scenario";
const GUIDE: &str = "Scenarios must use level-4 headers. Convert bullet lists into:\n#### Scenario: Short name\n- **WHEN** \
    ...\n- **THEN** ...\n- **AND** ...";
const EXAMPLE: &str = "Missing required sections. Expected headers: \"## Purpose\" and \"## Requirements\". Example:\n## \
    Purpose\n[brief purpose]\n\n## Requirements\n### Requirement: Clear requirement statement\nUsers SHALL ...\n\n#### \
    Scenario: Descriptive name\n- **WHEN** ...\n- **THEN** ...";
const PLACEHOLDER_TEXT: &str = "Purpose section is still a placeholder rather than a Purpose anyone wrote (the sentence \
    `openspec archive` writes for a new capability, or a `TBD`/`TODO` marker left in its place). Replace it with what \
    this capability is for, editing the main spec directly: a `## Purpose` in a delta is read only when the capability \
    is created, so it cannot replace this one.";

static MARKER: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(TBD|TODO)\b"));
static LOOSE_MARKER: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^(TBD|TODO)\s*([!-/:-@\[-`{-~\n]|$)"));

/// Checks a main spec; the issues in the CLI's order.
pub fn spec(text: &str) -> Vec<Issue> {
    let parsed = match ParsedSpec::parse(text) {
        Ok(parsed) => parsed,
        Err(section) => {
            let message = format!("Spec must have a {section} section. {EXAMPLE}");
            return vec![Issue::new(Level::Error, "file", message)];
        }
    };
    let mut issues = Vec::new();
    if parsed.requirements.is_empty() {
        issues.push(Issue::new(Level::Error, "requirements", NO_REQUIREMENTS));
    }
    let bare = || parsed.requirements.iter().enumerate().filter(|(_, r)| r.scenarios() == 0).map(|(i, _)| i);
    issues.extend(bare().map(|i| Issue::new(Level::Error, &format!("requirements.{i}.scenarios"), NO_SCENARIO)));
    let structure = structure_errors(text).into_iter();
    issues.extend(structure.map(|e| Issue::new(Level::Error, "file", e.message).at(e.line)));
    issues.extend(purpose(&parsed));
    for (i, requirement) in parsed.requirements.iter().enumerate() {
        let statement = statement(&format!("\n{}", requirement.content));
        let text = if statement.is_empty() { requirement.title.as_str() } else { statement.as_str() };
        if utf16_len(text) > REQUIREMENT_MAX_UNITS {
            let message = "Requirement text is very long (>500 characters). Consider breaking it down.";
            issues.push(Issue::new(Level::Info, &format!("requirements[{i}]"), message));
        }
        if requirement.scenarios() == 0 {
            let path = format!("requirements[{i}].scenarios");
            issues.push(Issue::new(Level::Warning, &path, format!("{NO_SCENARIO}. {GUIDE}")));
        }
    }
    for (i, block) in MainSpec::parse(text).blocks.iter().enumerate() {
        let (name, path) = (&block.name, format!("requirements[{i}]"));
        let text = statement(&block.raw);
        if text.is_empty() {
            let what = if has_keyword(name) { MOVE_KEYWORD } else { "contain SHALL or MUST" };
            issues.push(Issue::new(Level::Error, &path, format!("Requirement \"{name}\" must {what}")));
        } else if !has_keyword(&text) {
            let message = format!("Requirement \"{name}\" {}", should(has_keyword(name)));
            issues.push(Issue::new(Level::Warning, &path, message));
        }
    }
    issues
}

fn purpose(parsed: &ParsedSpec) -> Option<Issue> {
    let text = trim(&parsed.purpose);
    if MARKER.is_match(text) || LOOSE_MARKER.is_match(text) {
        let blank = parsed.purpose.split('\n').take_while(|line| is_blank(line)).count();
        let line = parsed.purpose_line + 1 + blank;
        return Some(Issue::new(Level::Warning, "overview", PLACEHOLDER_TEXT).at(line));
    }
    (utf16_len(text) < PURPOSE_MIN_UNITS)
        .then(|| Issue::new(Level::Warning, "overview", "Purpose section is too brief (less than 50 characters)"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_stray_heading_below_requirements_is_a_requirement_without_scenario() {
        let text = "## Purpose\nA purpose that is long enough to be called a purpose here.\n## Requirements\n\
                    ### Requirement: A\nIt SHALL.\n#### S\n- x\n### More\ntext\n";
        let found: Vec<_> = spec(text).into_iter().map(|i| (i.level, i.path)).collect();
        assert_eq!(
            found,
            [
                (Level::Error, "requirements.1.scenarios".to_owned()),
                (Level::Warning, "requirements[1].scenarios".to_owned())
            ]
        );
    }

    #[test]
    fn lower_case_markers_count_only_before_punctuation() {
        let marked = |p: &str| spec(&format!("## Purpose\n{p}\n## Requirements\n")).iter().any(|i| i.line == Some(2));
        assert!(marked("TODO write") && marked("tbd.") && marked("todo"));
        assert!(!marked("todo lists are kept here"));
    }
}

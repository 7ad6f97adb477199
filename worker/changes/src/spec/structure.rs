//! Structure errors that make a main spec unsafe to update.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::text::{Lines, norm, normalise, pattern, trim};

/// One structure error.
#[derive(Debug, PartialEq, Eq)]
pub struct StructureError {
    /// Line from 1.
    pub line: usize,
    /// What is wrong, as the CLI says it.
    pub message: String,
}

static DELTA: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)^##\s+(ADDED|MODIFIED|REMOVED|RENAMED)\s+Requirements\s*$"));
static SECTION: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^##\s+Requirements\s*$"));
static NEXT: LazyLock<Regex> = LazyLock::new(|| pattern(r"^##\s+"));
static HEADER: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^###\s+Requirement:\s*(.+)\s*$"));

/// Finds delta headers, requirements outside the section, and names used twice, in line order.
pub fn structure_errors(text: &str) -> Vec<StructureError> {
    let text = normalise(text);
    let lines = Lines::new(&text);
    let mut errors = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut section = Where::Before;
    for (i, line) in lines.open() {
        let number = i + 1;
        if NEXT.is_match(line) {
            section = match section {
                Where::Before if SECTION.is_match(line) => Where::Inside,
                Where::Before => Where::Before,
                Where::Inside | Where::After => Where::After,
            };
        }
        if DELTA.is_match(line) {
            let message = format!(
                "Main spec contains delta header \"{}\". Delta headers are only valid inside \
                 openspec/changes/<name>/specs/<capability-path>/spec.md and truncate the parsed ## Requirements section.",
                trim(line)
            );
            errors.push(StructureError { line: number, message });
        } else if let Some(name) = HEADER.captures(line).and_then(|c| c.get(1)) {
            let header = trim(line);
            if section != Where::Inside {
                let message = format!(
                    "Requirement header \"{header}\" appears outside the main ## Requirements section. Main specs only \
                     parse requirements inside that section, so this requirement is currently invisible to validate, \
                     list, and archive."
                );
                errors.push(StructureError { line: number, message });
            } else if let Some(first) = seen.get(&norm(name.as_str())) {
                let message = format!(
                    "Requirement header \"{header}\" duplicates the requirement declared on line {first}. Requirement \
                     names must be unique so spec updates cannot discard one block while updating another."
                );
                errors.push(StructureError { line: number, message });
            } else {
                seen.insert(norm(name.as_str()), number);
            }
        }
    }
    errors
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Before,
    Inside,
    After,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn finds_all_three_kinds_and_skips_fences() {
        let text = "### Requirement: out\n## Requirements\n### Requirement: A\n```\n### Requirement: A\n```\n\
                    ### requirement: A ##\n## added  Requirements";
        let lines: Vec<usize> = structure_errors(text).iter().map(|e| e.line).collect();
        assert_eq!(lines, [1, 7, 8]);
    }
}

//! What a list says of a proposal: its heading and the lines below it.

use std::sync::LazyLock;

use regex::Regex;

use crate::text::{normalise, pattern, trim};

/// Longest title, owner or template shown, in characters.
const LABEL_MAX: usize = 200;

static TITLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^#\s+(?:Change:\s+)?(.+)$"));
static FIELD: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*(?:[-*+]\s+)?\**(Owner|Type|Date)\**:\**\s*(.+)$"));

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) title: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) template: Option<String>,
    pub(super) date: Option<String>,
}

impl Proposal {
    /// Reads heading and fields; fields count only above the first section.
    pub(super) fn read(text: &str) -> Self {
        let text = normalise(text);
        let mut proposal = Self::default();
        let title = text.split('\n').find_map(|line| TITLE.captures(line)?.get(1).map(|m| label(m.as_str())));
        proposal.title = title.filter(|title| !title.is_empty() && !title.eq_ignore_ascii_case("proposal"));
        for line in text.split('\n').take_while(|line| !line.starts_with("## ")) {
            let Some(found) = FIELD.captures(line) else { continue };
            let value = found.get(2).map(|value| label(value.as_str())).filter(|value| !value.is_empty());
            match found.get(1).map(|name| name.as_str()) {
                Some("Owner") => proposal.owner = proposal.owner.or(value),
                Some("Type") => proposal.template = proposal.template.or(value),
                _ => proposal.date = proposal.date.or(value.filter(|v| v.parse::<jiff::civil::Date>().is_ok())),
            }
        }
        proposal
    }
}

fn label(text: &str) -> String {
    trim(text).trim_matches('`').chars().take(LABEL_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_count_only_above_the_first_section() {
        let read = Proposal::read("# Change: Lock it\n\n- Owner: ana\n- **Type:** bugfix\n\n## Why\n- Owner: eve\n");
        assert_eq!(read.title.as_deref(), Some("Lock it"));
        assert_eq!((read.owner.as_deref(), read.template.as_deref()), (Some("ana"), Some("bugfix")));
    }

    #[test]
    fn a_heading_that_says_proposal_is_no_title() {
        assert_eq!(Proposal::read("# Proposal\n").title, None);
    }
}

//! The documents a new change starts with. What the author has to write carries a mark, `[TBD: what]`, which
//! `missing` lists and archiving looks for.

use std::sync::LazyLock;

use jiff::civil::Date;
use regex::Regex;

use crate::delta::Delta;
use crate::store::Template;
use crate::text::pattern;

/// What the templates are filled with.
pub(super) struct Draft<'a> {
    pub(super) title: &'a str,
    pub(super) slug: &'a str,
    pub(super) owner: &'a str,
    pub(super) rationale: Option<&'a str>,
    pub(super) template: Template,
    pub(super) day: Date,
}

static MARK: LazyLock<Regex> = LazyLock::new(|| pattern(r"\[TBD: ([^\]]+)\]"));

/// The marks left in a document: line from 1 and what is to be written.
pub(super) fn marks(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.lines().enumerate().flat_map(|(i, line)| {
        MARK.captures_iter(line).filter_map(move |found| Some((i + 1, found.get(1)?.as_str().to_owned())))
    })
}

/// Whether a delta spec is the skeleton as it was written, with any title.
pub(super) fn is_untouched(text: &str) -> bool {
    let delta_spec = Delta::parse(text);
    delta_spec.added.first().is_some_and(|block| delta(&block.name) == text)
}

/// `proposal.md`.
pub(super) fn proposal(draft: &Draft<'_>) -> String {
    let Draft { title, slug, owner, day, .. } = draft;
    let kind = draft.template.word();
    let why = draft
        .rationale
        .map_or_else(|| "[TBD: the problem, who has it, and why now]".to_owned(), |r| r.trim().to_owned());
    let extra = match draft.template {
        Template::Feature => "",
        Template::Bugfix => {
            "\n## Bug Description\n\n- Expected: [TBD: what should happen]\n- Actual: [TBD: what happens instead]\n\
             - Steps: [TBD: the shortest way to see it]\n"
        }
        Template::Chore => "\n## Background\n\n[TBD: the state of things and what made this due]\n",
    };
    format!(
        "# Change: {title}\n\n- Slug: {slug}\n- Date: {day}\n- Owner: {owner}\n- Type: {kind}\n\n## Why\n\n{why}\n{extra}\n\
         ## What Changes\n\n- [TBD: each change in behaviour, one to a bullet]\n\n## Deltas\n\n- `specs/{slug}/spec.md`: \
         [TBD: the capability this touches; rename the folder to it if it exists already]\n\n## Success Metrics\n\n\
         - [TBD: how we will see that it worked]\n\n## Rollback Plan\n\n- [TBD: how to go back, and what is lost]\n"
    )
}

/// `tasks.md`.
pub(super) fn tasks(draft: &Draft<'_>) -> String {
    let (phases, extra): ([Group; 5], Option<Group>) = match draft.template {
        Template::Feature => (FEATURE, None),
        Template::Bugfix => (BUGFIX, Some(("Bug-Specific Tasks", BUG_EXTRA))),
        Template::Chore => (CHORE, Some(("Maintenance-Specific Tasks", CHORE_EXTRA))),
    };
    let mut text = format!("# Tasks: {}\n", draft.title);
    for (i, (phase, tasks)) in phases.iter().enumerate() {
        text.push_str(&group(&format!("Phase {}: {phase}", i + 1), i + 1, tasks));
    }
    if let Some((title, tasks)) = extra {
        text.push_str(&group(title, phases.len() + 1, &tasks));
    }
    text.push_str("\n## Notes\n\nDecisions and surprises go here.\n");
    text
}

/// The delta skeleton: valid for `openspec validate`, and known again as long as nobody touched it.
pub(super) fn delta(title: &str) -> String {
    format!(
        "## ADDED Requirements\n\n### Requirement: {title}\nThe system SHALL [TBD: one testable sentence on what it \
         does].\n\n#### Scenario: [TBD: a short name]\n- **WHEN** [TBD: what happens]\n- **THEN** [TBD: what can be \
         observed]\n"
    )
}

/// A heading and the tasks below it.
type Group = (&'static str, [&'static str; 3]);

fn group(title: &str, number: usize, tasks: &[&str; 3]) -> String {
    let rows: String = tasks.iter().enumerate().map(|(i, task)| format!("- [ ] {number}.{} {task}\n", i + 1)).collect();
    format!("\n## {title}\n\n{rows}")
}

const FEATURE: [Group; 5] = [
    ("Planning & Design", ["Write the proposal", "Write the delta specs", "Settle open questions with the owner"]),
    ("Implementation", ["Implement the core behaviour", "Handle errors and limits", "Add settings and defaults"]),
    ("Testing", ["Cover each scenario of the delta specs", "Test the edges and failures", "Run the whole suite"]),
    ("Documentation", ["Document the behaviour for users", "Document operation and settings", "Update the examples"]),
    ("Release", ["Review the change", "Write the release note", "Ship it and watch the metrics"]),
];

const BUGFIX: [Group; 5] = [
    ("Investigation", ["Reproduce the bug", "Find the root cause", "Find out who is affected and since when"]),
    (
        "Fix Development",
        ["Write a failing test", "Fix the cause, not the symptom", "Look for the same mistake elsewhere"],
    ),
    ("Testing & Validation", ["See the new test pass", "Run the whole suite", "Confirm the fix with the reporter"]),
    ("Documentation", ["Correct what the documentation promised", "Write the release note", "Record the root cause"]),
    ("Release", ["Review the fix", "Ship it", "Watch for the bug to stay away"]),
];

const CHORE: [Group; 5] = [
    ("Preparation", ["Write down the present state", "List what depends on it", "Plan the way back"]),
    (
        "Execution",
        ["Make the change in small steps", "Keep the build green at each step", "Remove what is no longer used"],
    ),
    ("Validation", ["Run the whole suite", "Compare behaviour with before", "Check size, speed and warnings"]),
    ("Documentation", ["Update instructions that changed", "Tell those who depend on it", "Record the decision"]),
    ("Cleanup", ["Remove temporary switches", "Close what this makes obsolete", "Schedule what is left"]),
];

const BUG_EXTRA: [&str; 3] = [
    "Check whether data has to be repaired",
    "Check whether older releases need the fix",
    "Add an alarm for a relapse",
];

const CHORE_EXTRA: [&str; 3] =
    ["Check licences of new or updated dependencies", "Check the effect on build times", "Note when this is due again"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use crate::metadata::Metadata;
    use crate::tasks::count;
    use crate::validate::{ChangeFiles, DeltaFile, change};

    #[test]
    fn the_skeleton_passes_validate_without_any_issue() {
        for title in ["Lock accounts", "Ünïcode ##", "a `b` # c"] {
            let file = DeltaFile {
                capability: "x".to_owned(),
                text: delta(title),
                target: None,
                target_path: String::new(),
                target_error: None,
            };
            let files = ChangeFiles {
                name: "x".to_owned(),
                deltas: vec![file],
                root_spec: false,
                has_spec_files: true,
                others: Vec::new(),
                metadata: Metadata::default(),
            };
            assert_eq!(change(&files), []);
        }
    }

    #[test]
    fn an_untouched_skeleton_is_known_again() {
        assert!(is_untouched(&delta("Lock accounts")));
        assert!(!is_untouched(&delta("Lock accounts").replace("[TBD: a short name]", "Five failures")));
    }

    #[test]
    fn every_template_has_tasks_and_marks() {
        for template in [Template::Feature, Template::Bugfix, Template::Chore] {
            let day = "2026-03-04".parse().unwrap();
            let draft = Draft { title: "T", slug: "t-t", owner: "o", rationale: None, template, day };
            assert!(count(&tasks(&draft)).total >= 15);
            assert!(marks(&proposal(&draft)).count() >= 5);
        }
    }
}

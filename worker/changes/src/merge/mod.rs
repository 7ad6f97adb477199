//! Merging one delta spec into one main spec, with the checks, the order and the words of the CLI's `archive`.

mod apply;
mod check;
mod rebuild;
mod scenarios;
mod skeleton;

pub(crate) use skeleton::PURPOSE_MIN_UNITS;

pub(crate) use check::{orphan_place, removed_again, spellings};
pub(crate) use scenarios::scenario_loss;

use crate::delta::Delta;
use crate::spec::{MainSpec, structure_errors};

/// What a merge works on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Capability id, `area/name`.
    pub capability: &'a str,
    /// The change, for the placeholder Purpose of a new spec.
    pub change: &'a str,
    /// The present main spec, if there is one.
    pub target: Option<&'a str>,
    /// Where the main spec lies, as warnings print it.
    pub target_path: &'a str,
}

/// How many operations changed something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requirements appended.
    pub added: usize,
    /// Requirements replaced.
    pub modified: usize,
    /// Requirements taken out.
    pub removed: usize,
    /// Requirements renamed.
    pub renamed: usize,
}

/// The outcome of a merge that was not refused.
#[derive(Debug)]
pub struct Merged {
    /// The new text of the main spec.
    pub text: String,
    /// What was done. All zero: the main spec is in sync already and is not to be written.
    pub counts: Counts,
    /// What the author should know, in the CLI's words.
    pub warnings: Vec<String>,
    /// The requirements that were taken out, as they stood.
    pub removed: Vec<String>,
}

/// Why a delta cannot be applied, in the CLI's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Counts {
    /// Whether nothing changed.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Sums over capabilities.
    pub fn plus(self, other: Self) -> Self {
        Self {
            added: self.added + other.added,
            modified: self.modified + other.modified,
            removed: self.removed + other.removed,
            renamed: self.renamed + other.renamed,
        }
    }
}

/// Applies a delta: RENAMED, REMOVED, MODIFIED, ADDED. The first problem refuses the whole of it.
pub fn merge(input: Input<'_>, delta: &Delta) -> Result<Merged, Refused> {
    let id = input.capability;
    let delta = &delta.keyed();
    let mut warnings = check::delta(id, delta)?;
    let skeleton;
    let original = match input.target {
        Some(text) => {
            warnings.extend(skeleton::purpose_warning(input, text, delta));
            text
        }
        None => {
            skeleton = skeleton::build(input, delta, &mut warnings)?;
            &skeleton
        }
    };
    let errors = structure_errors(original);
    if !errors.is_empty() {
        let lines: Vec<String> = errors.iter().map(|e| format!("line {}: {}", e.line, e.message)).collect();
        let head = format!("{id}: target spec is structurally invalid and cannot be updated until fixed:");
        return Err(Refused(format!("{head}\n{}", lines.join("\n"))));
    }
    let mut spec = MainSpec::parse(original);
    let applied = apply::apply(id, &mut spec, delta, input.target.is_none())?;
    warnings.extend(applied.warnings);
    Ok(Merged {
        text: rebuild::rebuild(&spec, input.target),
        counts: applied.counts,
        warnings,
        removed: applied.removed,
    })
}

/// The requirement header as messages quote it, quotes included.
fn quoted(name: &str) -> String {
    format!("\"### Requirement: {name}\"")
}

/// `header "### Requirement: x"`.
fn header(name: &str) -> String {
    format!("header {}", quoted(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    const MAIN: &str = "# auth Specification\n\n## Purpose\nAuth.\n\n## Requirements\n### Requirement: A\nIt SHALL a.\n\n\
                        #### Scenario: One\n- x\n\n### Requirement: B\nIt SHALL b.\n";

    fn run(target: Option<&str>, delta: &str) -> Result<Merged, Refused> {
        let input = Input { capability: "auth", change: "c", target, target_path: "/r/auth/spec.md" };
        merge(input, &Delta::parse(delta))
    }

    fn refusal(delta: &str) -> String {
        run(Some(MAIN), delta).unwrap_err().0
    }

    #[test]
    fn operations_run_in_the_fixed_order() {
        let merged = run(
            Some(MAIN),
            "## ADDED Requirements\n### Requirement: N\nIt SHALL n.\n## REMOVED Requirements\n- ### Requirement: B\n\
             ## RENAMED Requirements\n- FROM: `### Requirement: A`\n- TO: `### Requirement: Z`\n",
        )
        .unwrap();
        assert_eq!(merged.counts, Counts { added: 1, modified: 0, removed: 1, renamed: 1 });
        assert!(merged.text.ends_with(
            "### Requirement: Z\nIt SHALL a.\n\n#### Scenario: One\n- x\n\n### Requirement: N\nIt SHALL n.\n"
        ));
    }

    #[test]
    fn a_rename_onto_a_near_variant_of_another_name_is_refused() {
        let text = refusal("## RENAMED Requirements\nFROM: ### Requirement: A\nTO: ### Requirement: b\n");
        assert!(text.contains("\"### Requirement: B\" already exists and differs only in case"), "{text}");
    }

    #[test]
    fn modified_may_not_drop_scenarios() {
        let text = refusal("## MODIFIED Requirements\n### Requirement: A\nIt SHALL c.\n#### Scenario: Two\n- y\n");
        assert!(text.contains("not present in the modified block: \"One\""), "{text}");
    }

    #[test]
    fn an_empty_delta_is_refused() {
        assert!(refusal("nothing here").starts_with("Delta parsing found no operations for auth."));
    }

    #[test]
    fn a_new_spec_takes_only_added() {
        let text = run(None, "## MODIFIED Requirements\n### Requirement: A\nx\n").unwrap_err().0;
        assert!(text.contains("target spec does not exist"), "{text}");
    }

    #[test]
    fn the_majority_line_ending_wins() {
        let crlf = MAIN.replace('\n', "\r\n");
        let merged = run(Some(&crlf), "## ADDED Requirements\n### Requirement: N\nIt SHALL n.\n").unwrap();
        assert_eq!(merged.text.matches('\n').count(), merged.text.matches("\r\n").count());
    }

    proptest! {
        #[test]
        fn untouched_blocks_stay_byte_identical(
            bodies in proptest::collection::vec("[a-z é😀#`*-]{1,30}(\n[a-z -]{1,20}){0,3}", 1..6),
            pick in 0usize..6,
        ) {
            let pick = pick % bodies.len();
            let mut main = String::from("## Purpose\np\n\n## Requirements\n");
            for (i, body) in bodies.iter().enumerate() {
                main.push_str(&format!("\n### Requirement: R{i}\nx{body}\n"));
            }
            prop_assume!(!main.contains("```"));
            let before = MainSpec::parse(&main);
            let merged = run(Some(&main), &format!("## REMOVED Requirements\n### Requirement: R{pick}\n")).unwrap();
            let after = MainSpec::parse(&merged.text);
            let kept: Vec<_> = before.blocks.into_iter().filter(|b| b.name != format!("R{pick}")).collect();
            // Runs of blank lines are the only thing the CLI rewrites; these bodies have none.
            prop_assert_eq!(kept, after.blocks);
        }

        #[test]
        fn any_pair_of_texts_merges_or_is_refused(
            main in "(#{1,4} ?|Requirement: |Requirements|Purpose|```|\n|\r\n|A|b|\u{feff})*",
            delta in "(#{1,4} ?|FROM: ### |TO: ### |Requirement: |(ADDED|MODIFIED|REMOVED|RENAMED) Requirements|```|\n|A|b)*",
        ) {
            let _ = run(Some(&main), &delta);
            let _ = run(None, &delta);
        }
    }
}

//! What OpenSpec demands of the documents of a change, in words for a model.
//!
//! Source: the checks of `openspec validate` and `openspec archive`, as `task_mcp_changes` has them.

/// The documents and their form.
pub(super) const DOCUMENTS: &str = "\
- `proposal.md`: the heading `# Change: <title>`; `## Why`: the problem, who has it, why now; `## What Changes`: one bullet for each \
change in behaviour, **BREAKING** where it breaks something. Keep it to a page.
- `specs/<capability>/spec.md`: the delta, one file for each capability the change touches. Name the folder as the living spec's is \
named; rename the one that the template made if need be.
- `tasks.md`: groups `## 1. <group>` with tasks `- [ ] 1.1 <task>`, in the order they are done, each small enough to be finished and \
checked in one go, tests and documentation among them.
- `design.md`: only where there is something to decide (several modules, a new dependency, data to migrate, security): context, \
decisions with the ways not taken, risks, open questions.
Replace every mark `[TBD: …]`.";

/// The form of a delta.
pub(super) const DELTA: &str = "\
- Sections `## ADDED Requirements`, `## MODIFIED Requirements`, `## REMOVED Requirements`, `## RENAMED Requirements`; those that are \
empty are left out.
- A requirement is `### Requirement: <name>`, right below it a sentence with SHALL or MUST that can be tested, and below that at least \
one scenario: `#### Scenario: <name>` with the bullets `- **WHEN** …` and `- **THEN** …`. Exactly three and four hashes.
- MODIFIED repeats the whole requirement under the name it has in the living spec, letter by letter, with every scenario that is to \
stay: one that is left out is refused as lost.
- REMOVED holds the heading alone, then why it goes and what takes its place. RENAMED holds pairs of lines, \
``- FROM: `### Requirement: <old>` `` and ``- TO: `### Requirement: <new>` ``; who modifies it as well does so under the new name.
- No requirement stands in two sections. A capability without a living spec takes ADDED only; give it `## Purpose` with a sentence of \
50 characters or more.";

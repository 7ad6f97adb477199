//! The checks of one delta spec file.

use std::collections::{HashMap, HashSet};

use super::body::{MOVE_KEYWORD, has_keyword, scenarios, statement};
use super::{Issue, Level};
use crate::delta::{Block, Delta, Rename, Section};
use crate::merge::{orphan_place, removed_again, scenario_loss, spellings};
use crate::spec::MainSpec;

/// The issues of one file; `target` is the main spec of its capability.
pub(super) fn delta(path: &str, delta: &Delta, target: Option<&str>) -> Vec<Issue> {
    let mut check = Check { path, issues: Vec::new() };
    check.unread(delta);
    check.blocks(Section::Added, &delta.added);
    check.blocks(Section::Modified, &delta.modified);
    if let Some(target) = target.filter(|_| !delta.modified.is_empty()) {
        check.losses(delta, target);
    }
    check.duplicates("Duplicate requirement in REMOVED", delta.removed.iter().map(String::as_str));
    check.duplicates("Duplicate FROM in RENAMED", delta.renamed.iter().map(|r| r.from.as_str()));
    check.duplicates("Duplicate TO in RENAMED", delta.renamed.iter().map(|r| r.to.as_str()));
    check.conflicts(&delta.keyed(), delta);
    check.issues
}

struct Check<'a> {
    path: &'a str,
    issues: Vec<Issue>,
}

impl Check<'_> {
    fn say(&mut self, level: Level, message: String) {
        self.issues.push(Issue::new(level, self.path, message));
    }

    fn say_at(&mut self, level: Level, line: usize, message: String) {
        self.issues.push(Issue::new(level, self.path, message).at(line));
    }

    fn unread(&mut self, delta: &Delta) {
        for skipped in &delta.skipped {
            let (word, title) = (skipped.section.word(), &skipped.title);
            let why = if title.eq_ignore_ascii_case("requirement:") {
                "is missing a requirement name and is ignored by validation. Add a name, e.g. \"### Requirement: \
                 <name>\"."
                    .to_owned()
            } else {
                format!(
                    "is not a \"### Requirement:\" header and is ignored by validation. Use \"### Requirement: {title}\" \
                     if it should be validated as a requirement."
                )
            };
            self.say_at(Level::Info, skipped.line, format!("Header \"### {title}\" in {word} Requirements {why}"));
        }
        for half in &delta.unpaired {
            let (side, name, missing) = (half.side, &half.name, half.missing);
            let message = format!(
                "RENAMED {side}: \"{name}\" has no matching {missing}: line. Write each rename as a FROM: line followed \
                 immediately by its TO: line."
            );
            self.say_at(Level::Error, half.line, message);
        }
        for orphan in &delta.orphans {
            let message = format!(
                "Requirement \"{}\" is {}, which is not a delta section, so it is ignored. Move it under \"## ADDED \
                 Requirements\", \"## MODIFIED Requirements\", \"## REMOVED Requirements\", or \"## RENAMED Requirements\".",
                orphan.name,
                orphan_place(orphan.section.as_deref())
            );
            self.say_at(Level::Warning, orphan.line, message);
        }
    }

    fn blocks(&mut self, section: Section, blocks: &[Block]) {
        let word = section.word();
        let mut seen = HashSet::new();
        for block in blocks {
            let name = &block.name;
            if !seen.insert(name) {
                self.say(Level::Error, format!("Duplicate requirement in {word}: \"{name}\""));
            }
            let text = statement(&block.raw);
            match (text.is_empty(), has_keyword(name)) {
                (true, true) => self.say(Level::Error, format!("{word} \"{name}\" must {MOVE_KEYWORD}")),
                (true, false) => self.say(Level::Error, format!("{word} \"{name}\" is missing requirement text")),
                _ if has_keyword(&text) => {}
                (false, in_header) => self.say(Level::Warning, format!("{word} \"{name}\" {}", should(in_header))),
            }
            match scenarios(&block.raw) {
                (0, bare) => {
                    let hint = if bare > 0 {
                        " (a scenario header with no body under it does not count; add its steps, e.g. \"- **WHEN** \
                         ...\" and \"- **THEN** ...\")"
                    } else {
                        ""
                    };
                    self.say(Level::Error, format!("{word} \"{name}\" must include at least one scenario{hint}"));
                }
                _ => continue,
            }
        }
    }

    /// Compares with the block the merge would replace: the one with the name before a rename of this delta.
    fn losses(&mut self, delta: &Delta, target: &str) {
        let spec = MainSpec::parse(target);
        let current: HashMap<&str, &str> = spec.blocks.iter().map(|b| (b.name.as_str(), b.raw.as_str())).collect();
        let renamed: HashMap<&str, &str> = delta.renamed.iter().map(|r| (r.to.as_str(), r.from.as_str())).collect();
        for block in &delta.modified {
            let name = block.name.as_str();
            let found = renamed.get(name).and_then(|from| current.get(from)).or_else(|| current.get(name));
            if let Some(loss) = found.and_then(|raw| scenario_loss(raw, &block.raw)) {
                let message = format!(
                    "MODIFIED \"{name}\" omits scenario(s) the current spec still has: {}. {} Copy the omitted scenarios \
                     into the MODIFIED block (a MODIFIED requirement replaces the whole block, so archive refuses to \
                     drop them).",
                    loss.missing, loss.counts
                );
                self.say(Level::Error, message);
            }
        }
    }

    fn duplicates<'a>(&mut self, what: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = HashSet::new();
        for name in names {
            if !seen.insert(name) {
                self.say(Level::Error, format!("{what}: \"{name}\""));
            }
        }
    }

    /// `written` has the names as they stand there.
    fn conflicts(&mut self, delta: &Delta, written: &Delta) {
        let added: HashSet<&str> = delta.added.iter().map(|b| b.name.as_str()).collect();
        let modified: HashSet<&str> = delta.modified.iter().map(|b| b.name.as_str()).collect();
        let removed: HashSet<&str> = delta.removed.iter().map(String::as_str).collect();
        let both = |first: &str, second: &str, name: &str| {
            format!("Requirement present in both {first} and {second}: \"{name}\"")
        };
        for name in once(&delta.modified) {
            for (word, names) in [("REMOVED", &removed), ("ADDED", &added)] {
                if names.contains(name) {
                    self.say(Level::Error, both("MODIFIED", word, name));
                }
            }
        }
        for name in once(&delta.added).filter(|name| removed.contains(name)) {
            self.say(Level::Error, both("ADDED", "REMOVED", name));
        }
        let spelled = spellings(&delta.removed);
        for (rename, Rename { to, .. }) in delta.renamed.iter().zip(&written.renamed) {
            if modified.contains(rename.from.as_str()) {
                self.say(
                    Level::Error,
                    format!("MODIFIED references old name from RENAMED. Use new header for \"{to}\""),
                );
            }
            if added.contains(rename.to.as_str()) {
                self.say(Level::Error, format!("RENAMED TO collides with ADDED for \"{}\"", rename.to));
            }
            if let Some(note) = removed_again(&rename.from, &spelled) {
                self.say(Level::Error, both("RENAMED", "REMOVED", &rename.from) + &note);
            }
        }
    }
}

/// The names of blocks in order, each once.
fn once(blocks: &[Block]) -> impl Iterator<Item = &str> {
    let mut seen = HashSet::new();
    blocks.iter().map(|block| block.name.as_str()).filter(move |name| seen.insert(*name))
}

/// The advice for a statement without keyword.
pub(super) fn should(in_header: bool) -> String {
    if in_header {
        format!("should {MOVE_KEYWORD} (RFC 2119 best practice for English specs)")
    } else {
        "should contain SHALL or MUST (RFC 2119 best practice for English specs)".to_owned()
    }
}

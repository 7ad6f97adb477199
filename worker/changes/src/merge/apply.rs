//! The four operations on the blocks of a main spec.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use super::{Counts, Refused, header, quoted, scenario_loss};
use crate::delta::{Block, Delta};
use crate::spec::MainSpec;
use crate::text::{Lines, fold, norm, pattern, trim};

/// What was done to the blocks.
pub(super) struct Applied {
    pub(super) counts: Counts,
    pub(super) warnings: Vec<String>,
    pub(super) removed: Vec<String>,
}

/// Changes the blocks of `spec` in place. `new` is whether the spec did not exist before.
pub(super) fn apply(id: &str, spec: &mut MainSpec, delta: &Delta, new: bool) -> Result<Applied, Refused> {
    let mut work = Work::new(id, std::mem::take(&mut spec.blocks));
    for rename in &delta.renamed {
        work.rename(&rename.from, &rename.to)?;
    }
    for name in &delta.removed {
        work.remove(name, new)?;
    }
    for block in &delta.modified {
        work.modify(block)?;
    }
    for block in &delta.added {
        work.add(block)?;
    }
    spec.blocks = work.slots.into_iter().flatten().collect();
    Ok(Applied { counts: work.counts, warnings: work.warnings, removed: work.removed })
}

/// Blocks in order, found by name; a removed block leaves an empty slot.
struct Work<'a> {
    id: &'a str,
    slots: Vec<Option<Block>>,
    by_name: HashMap<String, usize>,
    /// The present names by their folded form, in order, so that near misses cost no scan of all blocks.
    by_fold: HashMap<String, Vec<String>>,
    counts: Counts,
    warnings: Vec<String>,
    removed: Vec<String>,
}

impl<'a> Work<'a> {
    fn new(id: &'a str, blocks: Vec<Block>) -> Self {
        let by_name = blocks.iter().enumerate().map(|(i, block)| (block.name.clone(), i)).collect();
        let mut by_fold: HashMap<String, Vec<String>> = HashMap::new();
        for block in &blocks {
            by_fold.entry(fold(&block.name)).or_default().push(block.name.clone());
        }
        let slots = blocks.into_iter().map(Some).collect();
        Self { id, slots, by_name, by_fold, counts: Counts::default(), warnings: Vec::new(), removed: Vec::new() }
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Refused> {
        let id = self.id;
        let refuse =
            |name: &str, why: String| Err(Refused(format!("{id} RENAMED failed for {} - {why}", header(name))));
        let Some(slot) = self.by_name.get(from).copied() else {
            if !self.by_name.contains_key(to) {
                return refuse(from, "source not found".to_owned());
            }
            // The target is there: the rename was made before, unless the source is merely misspelled.
            return match self.near(from, to) {
                Some(near) => {
                    let near = quoted(&near);
                    refuse(from, format!("source not found, but {near} exists; fix the header to match it exactly"))
                }
                None => Ok(()),
            };
        };
        if self.by_name.contains_key(to) {
            return refuse(to, "target already exists".to_owned());
        }
        if let Some(near) = self.near(to, from) {
            let near = quoted(&near);
            return refuse(
                to,
                format!("{near} already exists and differs only in case or spacing; choose a distinct name"),
            );
        }
        self.by_name.remove(from);
        self.forget(from);
        self.know(to, slot);
        if let Some(Some(block)) = self.slots.get_mut(slot) {
            let rest = block.raw.split_once('\n').map(|(_, rest)| format!("\n{rest}")).unwrap_or_default();
            block.raw = format!("### Requirement: {}{rest}", norm(to));
            block.name = to.to_owned();
        }
        self.counts.renamed += 1;
        Ok(())
    }

    fn remove(&mut self, name: &str, new: bool) -> Result<(), Refused> {
        if new {
            return Ok(());
        }
        let id = self.id;
        if let Some(block) = self.by_name.remove(name).and_then(|i| self.slots.get_mut(i)).and_then(Option::take) {
            self.forget(name);
            self.warn_about_tail(&block, "");
            self.removed.push(block.raw);
            self.counts.removed += 1;
            return Ok(());
        }
        if let Some(near) = self.near(name, "") {
            let (header, near) = (header(name), quoted(&near));
            return Err(Refused(format!(
                "{id} REMOVED failed for {header} - not found, but {near} exists; fix the header to match it exactly"
            )));
        }
        self.warnings.push(format!(
            "{id} - REMOVED requirement \"{name}\" is not in the current spec; treating it as already removed."
        ));
        Ok(())
    }

    fn modify(&mut self, block: &Block) -> Result<(), Refused> {
        let id = self.id;
        let refuse = |why: String| Err(Refused(format!("{id} MODIFIED failed for {} - {why}", header(&block.name))));
        let slot = self.by_name.get(&block.name).and_then(|i| self.slots.get_mut(*i)).and_then(Option::as_mut);
        let Some(current) = slot else { return refuse("not found".to_owned()) };
        if let Some(loss) = scenario_loss(&current.raw, &block.raw) {
            return refuse(format!(
                "current spec contains scenario(s) not present in the modified block: {} {} Refresh the change spec \
                 before archiving to avoid dropping scenarios.",
                format_args!("{}.", loss.missing),
                loss.counts
            ));
        }
        let old = std::mem::replace(current, block.clone());
        if trim(&old.raw) != trim(&block.raw) {
            self.counts.modified += 1;
        }
        self.warn_about_tail(&old, &block.raw);
        Ok(())
    }

    fn add(&mut self, block: &Block) -> Result<(), Refused> {
        let id = self.id;
        let refuse = |why: String| Err(Refused(format!("{id} ADDED failed for {} - {why}", header(&block.name))));
        if let Some(slot) = self.by_name.get(&block.name) {
            let same = self.slots.get(*slot).and_then(Option::as_ref).is_some_and(|b| trim(&b.raw) == trim(&block.raw));
            return if same { Ok(()) } else { refuse("already exists".to_owned()) };
        }
        if let Some(near) = self.near(&block.name, "") {
            let near = quoted(&near);
            return refuse(format!(
                "{near} already exists and differs only in case or spacing; use MODIFIED with that exact header to \
                 change it, or choose a distinct name"
            ));
        }
        self.know(&block.name, self.slots.len());
        self.slots.push(Some(block.clone()));
        self.counts.added += 1;
        Ok(())
    }

    /// The first present name that differs from `name` only in case or spacing, `except` aside.
    fn near(&self, name: &str, except: &str) -> Option<String> {
        let same = self.by_fold.get(&fold(name))?;
        same.iter().find(|n| n.as_str() != except && n.as_str() != name).cloned()
    }

    fn know(&mut self, name: &str, slot: usize) {
        self.by_name.insert(name.to_owned(), slot);
        self.by_fold.entry(fold(name)).or_default().push(name.to_owned());
    }

    fn forget(&mut self, name: &str) {
        if let Some(names) = self.by_fold.get_mut(&fold(name)) {
            names.retain(|n| n != name);
        }
    }

    /// Warns when a heading that is no part of a requirement goes away with its block.
    fn warn_about_tail(&mut self, old: &Block, new: &str) {
        static HEADING: LazyLock<Regex> = LazyLock::new(|| pattern(r"^ {0,3}#{1,3}([ \t]|$)"));
        let lines = Lines::new(&old.raw);
        let Some((at, heading)) = lines.open().skip(1).find(|(_, line)| HEADING.is_match(line)) else { return };
        if !new.contains(&lines.join(at, lines.len())) {
            self.warnings.push(format!(
                "{} - \"{}\" sits inside requirement \"{}\" and goes with it. Move it under its own requirement, or \
                 above `## Requirements`, to keep it.",
                self.id,
                trim(heading),
                old.name
            ));
        }
    }
}

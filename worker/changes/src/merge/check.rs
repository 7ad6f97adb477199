//! Conflicts inside one delta, before any target is looked at.

use std::collections::{HashMap, HashSet};

use super::{Refused, header, quoted};
use crate::delta::Delta;
use crate::text::fold;

/// Refuses a delta that contradicts itself; returns warnings about requirements nobody applies.
pub(super) fn delta(id: &str, delta: &Delta) -> Result<Vec<String>, Refused> {
    let refuse = |what: String| Err(Refused(format!("{id} validation failed - {what}")));
    if let Some(half) = delta.unpaired.first() {
        let (line, missing, header) = (half.line, half.missing, header(&half.name));
        return refuse(format!(
            "RENAMED entry on line {line} has no matching {missing}: for {header}. Write each rename as a FROM: line \
             followed immediately by its TO: line."
        ));
    }
    let warnings = delta.orphans.iter().map(|orphan| {
        format!(
            "{id} - requirement \"{}\" (line {}) is {}, which is not a delta section, so it was not applied. Move it \
             under ADDED/MODIFIED/REMOVED/RENAMED Requirements.",
            orphan.name,
            orphan.line,
            orphan_place(orphan.section.as_deref())
        )
    });
    let warnings = warnings.collect();

    let added: Vec<&str> = delta.added.iter().map(|b| b.name.as_str()).collect();
    let modified: Vec<&str> = delta.modified.iter().map(|b| b.name.as_str()).collect();
    let removed: Vec<&str> = delta.removed.iter().map(String::as_str).collect();
    for (section, names) in [("ADDED", &added), ("MODIFIED", &modified), ("REMOVED", &removed)] {
        if let Some(name) = first_duplicate(names.iter().copied()) {
            return refuse(format!("duplicate requirement in {section} for {}", header(name)));
        }
    }
    if let Some(name) = first_duplicate(delta.renamed.iter().map(|r| r.from.as_str())) {
        return refuse(format!("duplicate FROM in RENAMED for {}", header(name)));
    }
    if let Some(name) = first_duplicate(delta.renamed.iter().map(|r| r.to.as_str())) {
        return refuse(format!("duplicate TO in RENAMED for {}", header(name)));
    }
    let spelled = spellings(&delta.removed);
    let in_added: HashSet<&str> = added.iter().copied().collect();
    let in_modified: HashSet<&str> = modified.iter().copied().collect();
    let in_removed: HashSet<&str> = removed.iter().copied().collect();
    for rename in &delta.renamed {
        if let Some(note) = removed_again(&rename.from, &spelled) {
            let header = header(&rename.from);
            return refuse(format!(
                "requirement present in multiple sections (RENAMED and REMOVED) for {header}{note}"
            ));
        }
        if in_modified.contains(rename.from.as_str()) {
            let to = quoted(&rename.to);
            return refuse(format!("when a rename exists, MODIFIED must reference the NEW header {to}"));
        }
        if in_added.contains(rename.to.as_str()) {
            return refuse(format!("RENAMED TO header collides with ADDED for {}", quoted(&rename.to)));
        }
    }
    let twice = |name: &str, first: &str, second: &str| {
        refuse(format!("requirement present in multiple sections ({first} and {second}) for {}", header(name)))
    };
    for name in &modified {
        if in_removed.contains(name) {
            return twice(name, "MODIFIED", "REMOVED");
        }
        if in_added.contains(name) {
            return twice(name, "MODIFIED", "ADDED");
        }
    }
    if let Some(name) = added.iter().find(|name| in_removed.contains(*name)) {
        return twice(name, "ADDED", "REMOVED");
    }
    if delta.is_empty() {
        return Err(Refused(format!(
            "Delta parsing found no operations for {id}. Provide ADDED/MODIFIED/REMOVED/RENAMED sections in change spec."
        )));
    }
    Ok(warnings)
}

/// `under "## Title"` or the words for the top of the file.
pub(crate) fn orphan_place(section: Option<&str>) -> String {
    section.map_or_else(|| "above the first \"## \" section".to_owned(), |title| format!("under \"## {title}\""))
}

/// The REMOVED names by folded form; the first spelling counts.
pub(crate) fn spellings(removed: &[String]) -> HashMap<String, &str> {
    let mut found = HashMap::new();
    for name in removed {
        found.entry(fold(name)).or_insert(name.as_str());
    }
    found
}

/// If a renamed requirement is removed too: a note on the spelling, empty when it is the same.
pub(crate) fn removed_again(from: &str, spelled: &HashMap<String, &str>) -> Option<String> {
    let name = spelled.get(&fold(from))?;
    Some(if *name == from { String::new() } else { format!(" (REMOVED spells it \"{name}\")") })
}

fn first_duplicate<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

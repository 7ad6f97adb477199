//! The document a new capability starts from, and what becomes of the delta's Purpose.

use super::{Input, Refused};
use crate::delta::{Delta, purpose};
use crate::spec::{ParsedSpec, structure_errors};
use crate::text::{normalise, trim, utf16_len};

/// The CLI calls a Purpose shorter than this too brief.
pub(crate) const PURPOSE_MIN_UNITS: usize = 50;

/// The skeleton of a new spec. Refuses operations that need an existing one.
pub(super) fn build(input: Input<'_>, delta: &Delta, warnings: &mut Vec<String>) -> Result<String, Refused> {
    let id = input.capability;
    if !delta.modified.is_empty() || !delta.renamed.is_empty() {
        return Err(Refused(format!(
            "{id}: target spec does not exist; only ADDED requirements are allowed for new specs. MODIFIED and RENAMED \
             operations require an existing spec."
        )));
    }
    if !delta.removed.is_empty() {
        let n = delta.removed.len();
        warnings.push(format!("{id} - {n} REMOVED requirement(s) ignored for new spec (nothing to remove)."));
    }
    let placeholder =
        || skeleton(id, &format!("TBD - created by archiving change {}. Update Purpose after archive.", input.change));
    let Some(purpose) = &delta.purpose else { return Ok(placeholder()) };
    let text = skeleton(id, purpose);
    if text.contains("<!--") || !structure_errors(&text).is_empty() || !readable(&text, purpose) {
        warnings.push(format!(
            "{id} - delta Purpose ignored (it would leave the new spec unreadable); wrote the placeholder Purpose instead."
        ));
        return Ok(placeholder());
    }
    if utf16_len(purpose) < PURPOSE_MIN_UNITS {
        warnings.push(format!(
            "{id} - carried Purpose is under 50 characters; openspec validate --strict reports it as too brief."
        ));
    }
    Ok(text)
}

/// The warning that an existing Purpose is not replaced.
pub(super) fn purpose_warning(input: Input<'_>, target: &str, delta: &Delta) -> Option<String> {
    let wanted = delta.purpose.as_deref()?;
    let present = purpose(&normalise(target))?;
    (present != trim(wanted)).then(|| {
        let (id, path) = (input.capability, input.target_path);
        format!("{id} - delta Purpose ignored; {id} already has one. Edit {path} directly to change it.")
    })
}

fn skeleton(id: &str, purpose: &str) -> String {
    format!("# {id} Specification\n\n## Purpose\n{purpose}\n\n## Requirements\n")
}

/// Whether the parser still finds both sections where the skeleton puts them.
fn readable(text: &str, purpose: &str) -> bool {
    ParsedSpec::parse(text).is_ok_and(|spec| trim(&spec.purpose) == trim(purpose) && spec.requirements.is_empty())
}

//! Scenarios a MODIFIED block would lose. A MODIFIED requirement replaces the whole block, so losing one is refused.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::text::{Lines, norm, pattern};

static SCENARIO: LazyLock<Regex> = LazyLock::new(|| pattern(r"^####\s+"));
static LABEL: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^Scenario:\s*"));

/// The wording of a loss.
pub(crate) struct Loss {
    /// The lost names, quoted, comma-separated.
    pub(crate) missing: String,
    /// Two sentences on the counts.
    pub(crate) counts: String,
}

/// Compares the scenario names of two blocks as multisets, case-sensitively.
pub(crate) fn scenario_loss(current: &str, new: &str) -> Option<Loss> {
    let (current, new) = (names(current), names(new));
    let missing = minus(&current, &new);
    if missing.is_empty() {
        return None;
    }
    let extra = minus(&new, &current);
    let adds = match extra.len() {
        0 => "It adds none.".to_owned(),
        n => {
            let shown = quote(extra.iter().take(3));
            let rest = if n > 3 { format!(" and {} more", n - 3) } else { String::new() };
            format!("It adds {} not in the current spec: {shown}{rest}.", count(n))
        }
    };
    Some(Loss {
        missing: quote(missing.iter()),
        counts: format!(
            "The modified block has {}; the current spec has {}. {adds}",
            count(new.len()),
            count(current.len())
        ),
    })
}

fn names(raw: &str) -> Vec<String> {
    let lines = Lines::new(raw);
    let headers = lines.open().filter_map(|(_, line)| SCENARIO.find(line).map(|m| line.split_at(m.end()).1));
    headers.map(|title| LABEL.replace(&norm(title), "").into_owned()).collect()
}

fn minus(from: &[String], take: &[String]) -> Vec<String> {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for name in take {
        *left.entry(name).or_default() += 1;
    }
    let mut rest = from.to_vec();
    rest.retain(|name| match left.get_mut(name.as_str()) {
        Some(n) if *n > 0 => {
            *n -= 1;
            false
        }
        _ => true,
    });
    rest
}

fn quote<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ")
}

fn count(n: usize) -> String {
    if n == 1 { "1 scenario".to_owned() } else { format!("{n} scenarios") }
}

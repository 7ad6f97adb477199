//! Requirement headers and how their names compare.

use std::sync::LazyLock;

use regex::Regex;

use super::js::{is_space, pattern, trim};

static HEADER: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^###\s*Requirement:\s*(.+)\s*$"));
static CLOSING: LazyLock<Regex> = LazyLock::new(|| pattern(r"[ \t]+#+[ \t]*$"));

/// The normalised name of a requirement header line. `### Requirement:` followed only by blanks has an empty name;
/// without the blanks it is no header.
pub(crate) fn requirement_name(line: &str) -> Option<String> {
    let name = HEADER.captures(line)?.get(1)?;
    Some(norm(name.as_str()))
}

/// Drops closing hashes and surrounding white space. Names match by this form, case and inner spaces kept.
pub(crate) fn norm(name: &str) -> String {
    trim(&CLOSING.replace(name, "")).to_owned()
}

/// The form the CLI compares names by: normalised once more than when they were read, so that `A ## ##` is `A`.
pub(crate) fn key(name: &str) -> String {
    norm(name)
}

/// The form near misses are found by: lower case, runs of white space as one blank.
pub(crate) fn fold(name: &str) -> String {
    let lower = norm(name).to_lowercase();
    lower.split(is_space).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn odd_headers() {
        assert_eq!(requirement_name("###requirement:  A  B ##").as_deref(), Some("A  B"));
        assert_eq!(requirement_name("### Requirement:"), None);
        assert_eq!(requirement_name("### Requirement:  ").as_deref(), Some(""));
        assert_eq!(requirement_name("### Requirement: Token ## ##").map(|name| key(&name)).as_deref(), Some("Token"));
        assert_eq!(requirement_name("### Requirement: C#").as_deref(), Some("C#"));
        assert_eq!(requirement_name("#### Requirement: A"), None);
    }

    #[test]
    fn folding_is_for_near_misses_only() {
        assert_eq!(fold("Password\u{a0} LOGIN"), "password login");
    }
}

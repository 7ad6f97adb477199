//! The URIs documents are read under (RFC 3986): `change://<slug>/<part>`, `spec://<capability>`.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Slug;
use super::document::{Capability, DocumentName, Part};

/// Longest URI in bytes: every byte of the longest capability may be escaped.
const URI_BYTES_MAX: usize = 4096;

/// Everything but what never needs escaping (RFC 3986, "Unreserved Characters") and the slash between folders.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

impl DocumentName {
    /// Its URI, the one it is listed under.
    pub fn uri(&self) -> String {
        self.to_string()
    }

    /// The document a URI names, whether it exists or not. Escapes are resolved once, before anything is checked; a capability may
    /// come with its slashes escaped, as expanding a template does it (RFC 6570, "Simple String Expansion").
    pub fn of_uri(uri: &str) -> Option<Self> {
        if uri.len() > URI_BYTES_MAX {
            return None;
        }
        if let Some(capability) = uri.strip_prefix("spec://") {
            return Capability::parse(&unescaped(capability)?).map(Self::Spec);
        }
        let (slug, part) = uri.strip_prefix("change://")?.split_once('/')?;
        let slug = Slug::parse(&unescaped(slug)?).ok()?;
        let part = match part {
            "proposal" => Part::Proposal,
            "tasks" => Part::Tasks,
            "design" => Part::Design,
            _ => Part::Delta(Capability::parse(&unescaped(part.strip_prefix("delta/")?)?)?),
        };
        Some(Self::Change(slug, part))
    }
}

impl fmt::Display for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |capability: &Capability| utf8_percent_encode(capability.as_str(), ESCAPED).to_string();
        match self {
            Self::Change(slug, Part::Proposal) => write!(f, "change://{slug}/proposal"),
            Self::Change(slug, Part::Tasks) => write!(f, "change://{slug}/tasks"),
            Self::Change(slug, Part::Design) => write!(f, "change://{slug}/design"),
            Self::Change(slug, Part::Delta(capability)) => write!(f, "change://{slug}/delta/{}", escaped(capability)),
            Self::Spec(capability) => write!(f, "spec://{}", escaped(capability)),
        }
    }
}

/// The text of a part of a URI; `None` if it holds what a path cannot (RFC 3986, "Path"), a broken escape, or no UTF-8.
fn unescaped(part: &str) -> Option<Cow<'_, str>> {
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        let is_sound = match byte {
            b'%' => {
                let mut is_digit = || bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                is_digit() && is_digit()
            }
            b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !is_sound {
            return None;
        }
    }
    percent_decode_str(part).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_document_has_one_uri_and_is_found_under_it() {
        for uri in [
            "change://add-x/proposal",
            "change://add-x/tasks",
            "change://add-x/design",
            "change://add-x/delta/accounts",
            "change://add-x/delta/area/accounts",
            "spec://accounts",
            "spec://area/b%20c%25",
        ] {
            assert_eq!(DocumentName::of_uri(uri).unwrap().uri(), uri);
        }
    }

    #[test]
    fn escapes_are_resolved_once_before_anything_is_checked() {
        for (uri, canonical) in [
            ("change://add-x/delta/area%2Faccounts", "change://add-x/delta/area/accounts"),
            ("change://%61dd-x/tasks", "change://add-x/tasks"),
            ("spec://a%252Fb", "spec://a%252Fb"),
            ("spec://%c3%a4", "spec://%C3%A4"),
            ("spec://a+b", "spec://a%2Bb"),
        ] {
            assert_eq!(DocumentName::of_uri(uri).unwrap().uri(), canonical, "{uri}");
        }
        assert_eq!(DocumentName::of_uri("spec://a%252Fb").unwrap().path(), "specs/a%2Fb/spec.md", "once");
    }

    #[test]
    fn anything_else_names_nothing() {
        let long = format!("spec://{}", "a/".repeat(URI_BYTES_MAX));
        for uri in [
            "",
            "change://",
            "change://add-x",
            "change://add-x/",
            "change://add-x/tasks/",
            "change://add-x//tasks",
            "change://add-x/t%61sks",
            "change://add-x/tasks?x=1",
            "change://add-x/tasks#x",
            "change://add-x/specs/accounts",
            "change://add-x/delta/",
            "change://add-x/delta/../../other-x/tasks",
            "change://add-x/delta/%2e%2e/%2E%2E/other-x",
            "change://add-x/delta/..%2f..%2fother",
            "change://add-x/delta/%2Fetc",
            "change://add-x/delta/a%00",
            "change://add-x/delta/a%0a",
            "change://../tasks",
            "change://..%2fspecs/tasks",
            "change://archive/tasks",
            "change://Add-X/tasks",
            "CHANGE://add-x/tasks",
            "change:add-x/tasks",
            "spec://",
            "spec:///accounts",
            "spec://accounts/",
            "spec://.hidden",
            "spec://a?b",
            "spec://a b",
            "spec://a%",
            "spec://a%4",
            "spec://a%zz",
            "spec://%ff",
            "spec://%c0%af",
            "spec://ä",
            "file:///etc/passwd",
            &long,
        ] {
            assert_eq!(DocumentName::of_uri(uri), None, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_uri_names_lies_below_its_folder(
            uri in prop_oneof!["\\PC*", "(change|spec)://[a-z%0-9./~\\\\]{0,40}", "change://add-x/delta/(%2[eEfF]|[./a])*"]
        ) {
            if let Some(name) = DocumentName::of_uri(&uri) {
                let path = name.path();
                prop_assert!(path.split('/').all(|folder| !folder.is_empty() && !folder.starts_with('.')));
                prop_assert!(path.starts_with("changes/") || path.starts_with("specs/"));
                prop_assert_eq!(DocumentName::of_path(&path), Some(name.clone()));
                prop_assert_eq!(DocumentName::of_uri(&name.uri()), Some(name));
            }
        }

        #[test]
        fn every_capability_has_a_uri(id in "\\PC{1,20}(/\\PC{1,20}){0,3}") {
            if let Some(capability) = Capability::parse(&id) {
                let name = DocumentName::Spec(capability);
                prop_assert!(name.uri().is_ascii());
                prop_assert_eq!(DocumentName::of_uri(&name.uri()), Some(name));
            }
        }
    }
}

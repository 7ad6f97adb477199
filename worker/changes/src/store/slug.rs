//! The name of a change as the tools accept it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::ChangesError;

/// A checked slug: 3 to 64 of `a-z`, `0-9` and `-`, letter or digit at both ends. So it is never `..`, never has a
/// separator, and no look-alike of another script gets in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(Box<str>);

impl Slug {
    /// The rule, for people.
    pub const RULE: &'static str =
        "A slug has 3 to 64 characters of a-z, 0-9 and hyphen, and starts and ends with a letter or digit.";

    /// Checks a slug.
    ///
    /// # Errors
    /// [`ChangesError::BadSlug`] with the rule that is broken.
    pub fn parse(text: &str) -> Result<Self, ChangesError> {
        let bad = |rule| Err(ChangesError::BadSlug { slug: text.chars().take(80).collect(), rule });
        let good = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        if !bytes.iter().all(|b| good(b) || *b == b'-') {
            return bad("it may hold only a-z, 0-9 and hyphens");
        }
        if !(3..=64).contains(&bytes.len()) {
            return bad("it must have 3 to 64 characters");
        }
        if !(bytes.first().is_some_and(good) && bytes.last().is_some_and(good)) {
            return bad("it must start and end with a letter or digit");
        }
        // The one folder below changes/ that is no change.
        if text == "archive" {
            return bad("\"archive\" is the folder of archived changes");
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Slug {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_slugs() {
        let longest = "a".repeat(64);
        for slug in ["abc", "a-b", "a--b", "123", longest.as_str()] {
            assert!(Slug::parse(slug).is_ok(), "{slug}");
        }
    }

    #[test]
    fn bad_slugs_name_the_rule() {
        let long = "a".repeat(65);
        let bad =
            ["", "ab", "..", "a/b", "a\\b", "-ab", "ab-", "aBc", "a\0b", "а-b-c", "abc\n", "a.b", "archive", &long];
        for slug in bad {
            let error = Slug::parse(slug).map(|_| ()).map_err(|e| (e.code(), e.to_string()));
            assert!(matches!(&error, Err(("EBADSLUG", text)) if text.contains(':')), "{slug:?}: {error:?}");
        }
    }
}

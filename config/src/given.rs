//! One value from one place, read by the type of its key and never by what the text looks like.

use figment::value::Value;
use toml::Spanned;
use toml::de::{DeArray, DeValue};

use crate::keys::{Key, Rule};
use crate::problem::{Flaw, Origin, quote};

/// A value as somebody gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// For texts and choices.
    Text(String),
    /// For numbers.
    Number(u64),
    /// For lists.
    List(Vec<String>),
}

/// A value with its key and where it came from: one entry of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Override {
    pub(crate) key: &'static Key,
    pub(crate) given: Given,
    pub(crate) origin: Origin,
}

impl Given {
    /// Reads text from the environment or the command line.
    pub(crate) fn from_text(key: &Key, text: &str) -> Result<Self, Flaw> {
        match key.rule {
            Rule::Number { .. } => number(text, 10).map(Self::Number),
            Rule::Choice(_) | Rule::Text { .. } => Ok(Self::Text(text.to_owned())),
            Rule::List { .. } => strings(text).map(Self::List),
        }
    }

    /// Reads a value of a settings file.
    pub(crate) fn from_toml(key: &Key, value: &DeValue<'_>) -> Result<Self, Flaw> {
        let (wanted, remedy) = match (&key.rule, value) {
            (Rule::Number { .. }, DeValue::Integer(integer)) => {
                return number(integer.as_str(), integer.radix()).map(Self::Number);
            }
            (Rule::Choice(_) | Rule::Text { .. }, DeValue::String(text)) => return Ok(Self::Text(text.to_string())),
            (Rule::List { .. }, DeValue::Array(array)) => return quoted(array).map(Self::List),
            (Rule::Number { .. }, _) => ("a whole number", "write it without quotes, as in 30"),
            (Rule::Choice(_) | Rule::Text { .. }, _) => ("a string", "put it in quotes"),
            (Rule::List { .. }, _) => ("a list of strings", "write it as [\"one\", \"two\"]"),
        };
        Err(Flaw::new(format!("is of type {}, not {wanted}", value.type_str()), remedy))
    }

    pub(crate) fn to_figment(&self) -> Value {
        match self {
            Self::Text(text) => text.clone().into(),
            Self::Number(number) => (*number).into(),
            Self::List(items) => items.clone().into(),
        }
    }
}

/// Strict: no sign, no fraction, no unit.
fn number(text: &str, radix: u32) -> Result<u64, Flaw> {
    const REMEDY: &str = "write digits only; the unit is the one in the key's name";
    if text.is_empty() {
        return Err(Flaw::new("is empty, which is no number", "set a number, or unset it for the default"));
    }
    if !text.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Flaw::new(format!("{} is not a whole number from 0", quote(text)), REMEDY));
    }
    u64::from_str_radix(text, radix).map_err(|_| Flaw::new(format!("{} is too large", quote(text)), REMEDY))
}

/// A TOML array of strings, or entries parted by commas.
fn strings(text: &str) -> Result<Vec<String>, Flaw> {
    let text = text.trim();
    if text.starts_with('[') && text.ends_with(']') && !is_address_literals(text) {
        let unreadable = || Flaw::new("is not a list that can be read", "write a,b or [\"a\", \"b\"]");
        return match DeValue::parse(text).map_err(|_| unreadable())?.get_ref() {
            DeValue::Array(array) => quoted(array),
            _ => Err(unreadable()),
        };
    }
    Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// `[::1]` and `[::1],[::2]` are hosts in brackets, not arrays.
fn is_address_literals(text: &str) -> bool {
    text.split(',').all(|item| {
        let inner = item.trim().strip_prefix('[').and_then(|item| item.split_once(']'));
        inner.is_some_and(|(inner, _)| inner.parse::<std::net::Ipv6Addr>().is_ok())
    })
}

fn quoted(array: &DeArray<'_>) -> Result<Vec<String>, Flaw> {
    let mut items = Vec::new();
    for (index, item) in array.iter().map(Spanned::get_ref).enumerate() {
        let Some(text) = item.as_str() else {
            let what = format!("entry {} is of type {}, not a string", index + 1, item.type_str());
            return Err(Flaw::new(what, "put every entry in quotes"));
        };
        items.push(text.to_owned());
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;
    use crate::keys;

    fn list(text: &str) -> Result<Vec<String>, Flaw> {
        strings(text)
    }

    #[test]
    fn text_that_looks_like_something_else_stays_text() {
        let token = keys::find("admin.token").unwrap();
        for text in ["12345", "1e5", "true", "0x10", "[1]", "{a=1}", "null", " padded "] {
            assert_eq!(Given::from_text(token, text).unwrap(), Given::Text(text.into()));
        }
        let tokens = keys::find("auth.tokens").unwrap();
        assert_eq!(
            Given::from_text(tokens, "12345,1e5,true").unwrap(),
            Given::List(vec!["12345".into(), "1e5".into(), "true".into()])
        );
    }

    #[test]
    fn lists_come_by_comma_or_as_array() {
        assert_eq!(list("a, b,,c,").unwrap(), ["a", "b", "c"]);
        assert_eq!(list("[\"a,b\", 'c']").unwrap(), ["a,b", "c"]);
        assert_eq!(list("[::1]").unwrap(), ["[::1]"]);
        assert_eq!(list("[::1]:80,[::2]").unwrap(), ["[::1]:80", "[::2]"]);
        assert!(list("").unwrap().is_empty() && list("[]").unwrap().is_empty());
        assert!(list("[12345]").is_err());
        assert!(list("[\"a\" b]").is_err());
    }

    #[test]
    fn numbers_are_strict() {
        let workers = keys::find("server.workers").unwrap();
        assert_eq!(Given::from_text(workers, "12").unwrap(), Given::Number(12));
        for text in ["", "+1", "-1", "1.0", "1e3", "1_000", " 1", "30s", "99999999999999999999999"] {
            assert!(Given::from_text(workers, text).is_err(), "{text}");
        }
    }
}

//! `.openspec.yaml` of a change: which schema it follows and which exceptions it declares.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::text::pattern;

/// The one schema the CLI ships.
pub const SCHEMA: &str = "spec-driven";

/// What archiving and validation need to know. A marker counts only if the whole file is valid metadata.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The change declares that it touches no spec.
    pub skip_specs: bool,
    /// The change may delete a capability it removes the last requirement of.
    pub retire_capabilities: bool,
    /// Why a mentioned `skip_specs` is not honoured.
    pub skip_specs_error: Option<String>,
    /// Why a mentioned `retire_capabilities` is not honoured.
    pub retire_error: Option<String>,
}

static DATE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\d{4}-\d{2}-\d{2}$"));

impl Metadata {
    /// Reads the file's text; `None` is a change without the file.
    pub fn parse(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::default() };
        let Some(value) = yaml(text) else {
            return Self::invalid(
                "the file is not valid YAML",
                mentions(text, "skip_specs"),
                mentions(text, "retire_capabilities"),
            );
        };
        let set = |key: &str| value.get(key).is_some_and(|v| *v != Value::Bool(false));
        match check(&value) {
            Ok(()) => Self {
                skip_specs: set("skip_specs"),
                retire_capabilities: set("retire_capabilities"),
                ..Self::default()
            },
            Err(why) => Self::invalid(&why, set("skip_specs"), set("retire_capabilities")),
        }
    }

    fn invalid(why: &str, skip: bool, retire: bool) -> Self {
        Self {
            skip_specs_error: skip.then(|| why.to_owned()),
            retire_error: retire.then(|| why.to_owned()),
            ..Self::default()
        }
    }
}

/// The `created` day, if it is one.
pub(crate) fn created(text: &str) -> Option<String> {
    let value = yaml(text)?;
    let day = value.get("created")?.as_str()?;
    day.parse::<jiff::civil::Date>().is_ok().then(|| day.to_owned())
}

/// YAML 1.2 scalars as JSON values: `yes` is text. The parser's own budget bounds aliases and depth.
fn yaml(text: &str) -> Option<Value> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).ok()
}

fn mentions(text: &str, key: &str) -> bool {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| name.trim_matches([' ', '\t', '"', '\'']) == key && value.trim() != "false")
}

/// The first thing that does not fit, in the CLI's words.
fn check(value: &Value) -> Result<(), String> {
    let Some(map) = value.as_object() else {
        return Err(format!("Invalid input: expected object, received {}", kind(Some(value))));
    };
    let text = |path: &str, value: Option<&Value>| match value {
        Some(Value::String(_)) => Ok(()),
        other => Err(format!("{path}: Invalid input: expected string, received {}", kind(other))),
    };
    let present = |key: &str| map.get(key);
    text("schema", present("schema"))?;
    if let Some(created) = present("created") {
        text("created", Some(created))?;
        if !created.as_str().is_some_and(|date| DATE.is_match(date)) {
            return Err("created: created must be YYYY-MM-DD format".to_owned());
        }
    }
    if present("goal").is_some() {
        text("goal", present("goal"))?;
    }
    match present("affected_areas") {
        None => {}
        Some(Value::Array(areas)) => {
            for (i, area) in areas.iter().enumerate() {
                text(&format!("affected_areas.{i}"), Some(area))?;
            }
        }
        other => return Err(format!("affected_areas: Invalid input: expected array, received {}", kind(other))),
    }
    match present("initiative") {
        None => {}
        Some(Value::Object(initiative)) => {
            text("initiative.store", initiative.get("store"))?;
            text("initiative.id", initiative.get("id"))?;
        }
        other => return Err(format!("initiative: Invalid input: expected object, received {}", kind(other))),
    }
    for key in ["skip_specs", "retire_capabilities"] {
        if let Some(other) = present(key).filter(|v| !v.is_boolean()) {
            return Err(format!("{key}: Invalid input: expected boolean, received {}", kind(Some(other))));
        }
    }
    match present("schema").and_then(Value::as_str) {
        Some(SCHEMA) | None => Ok(()),
        Some(unknown) => Err(format!("schema: unknown schema '{unknown}'")),
    }
}

fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip_error(text: &str) -> Option<String> {
        Metadata::parse(Some(text)).skip_specs_error
    }

    #[test]
    fn a_valid_marker_counts() {
        let read = Metadata::parse(Some("schema: spec-driven\ncreated: 2026-01-01\nskip_specs: true\nother: 1\n"));
        assert_eq!(read, Metadata { skip_specs: true, ..Metadata::default() });
    }

    #[test]
    fn yes_is_text_and_a_number_is_no_schema() {
        assert_eq!(
            skip_error("schema: spec-driven\nskip_specs: yes\n").as_deref(),
            Some("skip_specs: Invalid input: expected boolean, received string")
        );
        assert_eq!(
            skip_error("schema: 3\nskip_specs: true\n").as_deref(),
            Some("schema: Invalid input: expected string, received number")
        );
    }

    #[test]
    fn a_marker_that_is_not_mentioned_is_no_error() {
        assert_eq!(skip_error("schema: spec-driven\nskip_specs: false\ncreated: 3\n"), None);
        assert_eq!(skip_error("- skip_specs\n"), None);
        assert_eq!(skip_error("skip_specs: true: x: [\n").as_deref(), Some("the file is not valid YAML"));
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
        for (name, inner) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["a", "b", "c", "d", "e", "f", "g"]) {
            bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{inner}"); 9].join(", ")));
        }
        assert!(yaml(&bomb).is_none());
    }
}

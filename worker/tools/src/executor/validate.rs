//! Arguments that fit the tool's schema.

use serde_json::{Value, json};

use crate::arguments;
use crate::error::{ToolError, code};
use crate::methods::{GET_PROMPT, LIST_RESOURCES, READ_RESOURCE};
use crate::registry::Entry;

/// The arguments as a value that fits the tool's schema.
pub(super) fn validated(entry: &Entry, arguments: &str) -> Result<Value, ToolError> {
    const PROBLEMS_MAX: usize = 8;
    let value = arguments::parse(arguments).map_err(|error| {
        ToolError::new(code::INVALID_INPUT, format!("arguments: {}", bounded(&error.to_string())))
            .with_hint("send one JSON object without repeated keys")
    })?;
    if entry.input.is_valid(&value) {
        return Ok(value);
    }
    let problems: Vec<(String, String)> = entry
        .input
        .iter_errors(&value)
        .take(PROBLEMS_MAX)
        .map(|error| (field_of(&error.instance_path().to_string()), bounded(&error.to_string())))
        .collect();
    let sentences: Vec<String> = problems.iter().map(|(field, problem)| format!("{field}: {problem}")).collect();
    let details: Vec<Value> =
        problems.iter().map(|(field, problem)| json!({ "field": field, "problem": problem })).collect();
    Err(ToolError::new(code::INVALID_INPUT, sentences.join("; "))
        .with_hint(hint(entry))
        .with_details(json!({ "problems": details })))
}

/// Where it stands what is taken.
fn hint(entry: &Entry) -> &'static str {
    match entry.name.as_str() {
        _ if entry.is_listed => "`tools/list` shows the tool's input schema",
        GET_PROMPT => "`prompts/list` names the prompts and their arguments, which are strings",
        READ_RESOURCE => "`resources/list` and `resources/templates/list` name the resources",
        LIST_RESOURCES => "pass `nextCursor` of the page before as it came, or leave `cursor` out",
        _ => "`completion/complete` takes `ref`, `argument` and `context`",
    }
}

/// `/a/0` as `a.0`; the whole as `arguments`.
fn field_of(pointer: &str) -> String {
    if pointer.is_empty() {
        "arguments".to_owned()
    } else {
        bounded(&pointer.trim_start_matches('/').replace('/', "."))
    }
}

/// A validator's words may quote the client at length.
fn bounded(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

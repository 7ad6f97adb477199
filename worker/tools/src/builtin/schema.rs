//! What the schemas of the tools share.

use serde_json::{Map, Value, json};

/// An object of the given properties that admits no others, so that a misspelt argument is told rather than ignored.
pub(super) fn closed(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// An object that may grow: results gain fields in later versions.
pub(super) fn open(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

/// The slug of a change, as an argument. Which slugs are good is told by the store, with the rule.
pub(super) fn slug() -> Value {
    json!({ "type": "string", "description": "Slug of the change: 3 to 64 of a-z, 0-9 and hyphens" })
}

/// A text with its meaning.
pub(super) fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

/// A whole number within bounds.
pub(super) fn integer(description: &str, minimum: u64, maximum: u64, default: Option<u64>) -> Value {
    let mut schema = json!({ "type": "integer", "description": description, "minimum": minimum, "maximum": maximum });
    if let (Some(fields), Some(default)) = (schema.as_object_mut(), default) {
        fields.insert("default".into(), default.into());
    }
    schema
}

/// A count.
pub(super) fn count(description: &str) -> Value {
    json!({ "type": "integer", "description": description, "minimum": 0 })
}

/// An array.
pub(super) fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// Names and values that are all texts, such as paths by document.
pub(super) fn texts(names: &[&str]) -> Value {
    let properties: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({ "type": "string" }))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": { "type": "string" } })
}

/// Tasks done and in all.
pub(super) fn tasks() -> Value {
    open(json!({ "completed": count("Tasks done"), "total": count("Tasks in all") }), &["completed", "total"])
}

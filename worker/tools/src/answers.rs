//! Whether what a client answers is an answer to what it was asked.
//!
//! Source: specification 2026-07-28 and 2025-11-25, `ElicitResult`, `CreateMessageResult`, `ListRootsResult`.

use serde_json::Value;
use task_mcp_mcp::{Question, shown};

/// Checks a client's result for a question. What is wrong is told with the field it is in, as in
/// ``the field `content.age` …``, below the result.
///
/// # Errors
/// It is no result for such a question, or the form does not fit the schema that was asked for.
pub fn check_answer(question: &Question, answer: &Value) -> Result<(), String> {
    if !answer.is_object() {
        return Err("it must be an object".to_owned());
    }
    match question {
        Question::Elicit { schema, .. } => elicited(schema, answer),
        Question::Sample(_) => sampled(answer),
        Question::Roots => roots(answer),
    }
}

/// What the user has said, and a form that fits if the user has filled it in.
fn elicited(schema: &Value, answer: &Value) -> Result<(), String> {
    match answer.get("action").and_then(Value::as_str) {
        Some("accept") => {}
        Some("decline" | "cancel") => return Ok(()),
        _ => return Err("the field `action` must be accept, decline or cancel".to_owned()),
    }
    let nothing = Value::Object(Default::default());
    let content = answer.get("content").unwrap_or(&nothing);
    if !content.is_object() {
        return Err("the field `content` must be an object".to_owned());
    }
    // The forms are few and small, and answered by people: nothing is gained by keeping what was compiled.
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .map_err(|_| "the form that was asked for is no schema: the fault is the server's".to_owned())?;
    match validator.iter_errors(content).next() {
        None => Ok(()),
        Some(error) => {
            let pointer = error.instance_path().to_string().replace('/', ".");
            Err(format!("the field `content{}`: {}", shown(&pointer), shown(&error.to_string())))
        }
    }
}

/// A message of the client's model.
fn sampled(answer: &Value) -> Result<(), String> {
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    if !matches!(text("role"), Some("assistant" | "user")) {
        return Err("the field `role` must be assistant or user".to_owned());
    }
    if text("model").is_none() {
        return Err("the field `model` must be a string".to_owned());
    }
    let is_block = |block: &Value| block.get("type").is_some_and(Value::is_string);
    let fits = match answer.get("content") {
        Some(Value::Array(blocks)) => blocks.iter().all(is_block),
        Some(block) => is_block(block),
        None => false,
    };
    if fits { Ok(()) } else { Err("the field `content` must be blocks of content with a `type`".to_owned()) }
}

fn roots(answer: &Value) -> Result<(), String> {
    let is_root = |root: &Value| root.get("uri").is_some_and(Value::is_string);
    match answer.get("roots") {
        Some(Value::Array(roots)) if roots.iter().all(is_root) => Ok(()),
        _ => Err("the field `roots` must be a list of objects with a `uri`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form() -> Question {
        let properties = json!({ "ok": { "type": "boolean" }, "mail": { "type": "string", "format": "email" } });
        let schema = json!({ "type": "object", "properties": properties, "required": ["ok"] });
        Question::Elicit { message: "?".into(), schema }
    }

    #[test]
    fn results_of_each_kind_are_answers() {
        for (question, answer) in [
            (form(), json!({ "action": "accept", "content": { "ok": true, "mail": "a@b.example" } })),
            (form(), json!({ "action": "decline" })),
            (form(), json!({ "action": "cancel", "content": null })),
            (
                Question::Sample(json!({})),
                json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "x" } }),
            ),
            (Question::Sample(json!({})), json!({ "role": "user", "model": "m", "content": [{ "type": "text" }] })),
            (Question::Roots, json!({ "roots": [{ "uri": "file:///a", "name": "a" }] })),
            (Question::Roots, json!({ "roots": [] })),
        ] {
            assert_eq!(check_answer(&question, &answer), Ok(()), "{answer}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_field_that_is_wrong() {
        let sample = || Question::Sample(json!({}));
        for (question, answer, part) in [
            (form(), json!(12345), "must be an object"),
            (form(), json!(null), "must be an object"),
            (form(), json!({}), "`action`"),
            (form(), json!({ "action": "maybe" }), "`action`"),
            (form(), json!({ "action": "accept" }), "`content`"),
            (form(), json!({ "action": "accept", "content": [] }), "`content` must be an object"),
            (form(), json!({ "action": "accept", "content": { "ok": "yes" } }), "`content.ok`"),
            (form(), json!({ "action": "accept", "content": { "ok": true, "mail": "no" } }), "`content.mail`"),
            (sample(), json!({ "action": "accept" }), "`role`"),
            (sample(), json!({ "role": "assistant", "content": { "type": "text" } }), "`model`"),
            (sample(), json!({ "role": "assistant", "model": "m" }), "`content`"),
            (sample(), json!({ "role": "assistant", "model": "m", "content": ["x"] }), "`content`"),
            (Question::Roots, json!({}), "`roots`"),
            (Question::Roots, json!({ "roots": ["file:///a"] }), "`roots`"),
        ] {
            let refusal = check_answer(&question, &answer).err().unwrap_or_default();
            assert!(refusal.contains(part), "{answer}: {refusal}");
        }
    }

    #[test]
    fn what_a_client_wrote_is_told_within_bounds() {
        let answer = json!({ "action": "accept", "content": { "ok": "x".repeat(10_000) } });
        let refusal = check_answer(&form(), &answer).err().unwrap_or_default();
        assert!(refusal.contains("`content.ok`") && refusal.len() < 600, "{refusal}");
    }
}

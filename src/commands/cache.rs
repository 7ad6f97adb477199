//! `task-mcp ctl cache`: the shared cache of a running instance.

use std::fmt::Write;

use serde_json::Value;
use task_mcp_worker::{CacheAnswer, CacheQuestion};

use crate::cli::CacheCommand;

/// The question that a command asks.
pub(crate) fn question(command: &CacheCommand) -> CacheQuestion {
    match command {
        CacheCommand::Stats => CacheQuestion::Stats,
        CacheCommand::Get { pattern } => CacheQuestion::Get { pattern: pattern.clone() },
        CacheCommand::Invalidate { tag: Some(tag), .. } => CacheQuestion::InvalidateTag { tag: tag.clone() },
        CacheCommand::Invalidate { pattern, .. } => {
            CacheQuestion::InvalidatePattern { pattern: pattern.clone().unwrap_or_default() }
        }
        CacheCommand::Flush => CacheQuestion::Flush,
    }
}

/// An answer for people, or why there is none.
pub(crate) fn told(answer: &Value) -> Result<String, String> {
    match serde_json::from_value(answer.clone()) {
        Ok(CacheAnswer::Stats { stats }) => Ok(fields(&stats)),
        Ok(CacheAnswer::Entries { entries, more }) => Ok(table(&entries, more)),
        Ok(CacheAnswer::Invalidated { tag }) => Ok(format!("What depends on {} is computed again.\n", printable(&tag))),
        Ok(CacheAnswer::Removed { entries }) => Ok(format!("{entries} entries were removed.\n")),
        Ok(CacheAnswer::Failed { reason }) => Err(reason),
        Err(error) => {
            Err(format!("the answer of the instance cannot be understood; it may be of another version: {error}"))
        }
    }
}

/// Whether the answer says that it was not done.
pub(crate) fn is_failure(answer: &Value) -> bool {
    answer.get("answer").and_then(Value::as_str) == Some("failed")
}

/// One line for each field that is known.
fn fields(stats: &Value) -> String {
    let mut text = String::new();
    let all = stats.as_object().into_iter().flatten();
    for (name, value) in all.filter(|(_, value)| !value.is_null()) {
        let value = value.as_str().map_or_else(|| value.to_string(), printable);
        let _ = writeln!(text, "{name:<12} {value}");
    }
    text
}

fn table(entries: &[Value], more: bool) -> String {
    if entries.is_empty() {
        return "No entry matches.\n".to_owned();
    }
    let mut text = format!("{:<12} {:<11} {:>10} {:>10}  NAME\n", "KEY", "STATE", "AGE (ms)", "BYTES");
    for entry in entries {
        let word = |field: &str| entry.get(field).and_then(Value::as_str).map(printable).unwrap_or_default();
        let number = |field: &str| entry.get(field).and_then(Value::as_u64).unwrap_or_default();
        let key: String = word("key").chars().take(12).collect();
        let (state, name) = (word("state"), word("name"));
        let _ = writeln!(text, "{key:<12} {state:<11} {:>10} {:>10}  {name}", number("age_ms"), number("stored_bytes"));
    }
    if more {
        text.push_str("There are more; a narrower pattern shows them.\n");
    }
    text
}

/// What clients chose cannot steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_are_shown_without_what_would_steer_a_terminal() {
        let entry =
            json!({"key": "ab".repeat(32), "name": "x\u{1b}[2J", "state": "fresh", "age_ms": 5, "stored_bytes": 7});
        let text = told(&json!({"answer": "entries", "entries": [entry], "more": true})).unwrap();
        assert!(text.contains("abababababab fresh") && text.contains("There are more"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn what_was_not_done_and_what_is_unknown_is_said_so() {
        assert_eq!(told(&json!({"answer": "failed", "reason": "why"})), Err("why".to_owned()));
        assert!(told(&json!({"answer": "later"})).unwrap_err().contains("another version"));
    }
}

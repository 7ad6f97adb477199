//! A task as its client is given it.

use jiff::Timestamp;
use serde_json::{Map, Value};
use task_mcp_state::{Task, TaskStatus};

use super::work::Work;

/// How often a client should ask, in milliseconds: a change is seen well within a second, and a hundred clients that wait cost a worker
/// two hundred reads of a record a second.
const POLL_INTERVAL_MS: u64 = 500;

/// What `tools/call` answers with: `Task` of the extension.
pub(super) fn created(task: &Task, work: &Work) -> Vec<u8> {
    Value::Object(fields(task, work)).to_string().into_bytes()
}

/// What `tasks/get` and `notifications/tasks` tell: `DetailedTask` of the extension.
pub(super) fn detailed(task: &Task, mut work: Work) -> Value {
    let mut fields = fields(task, &work);
    let (name, value) = match task.status {
        TaskStatus::Working | TaskStatus::Cancelled => return Value::Object(fields),
        TaskStatus::InputRequired => ("inputRequests", Value::Object(work.open_requests())),
        TaskStatus::Completed => ("result", work.outcome.take().unwrap_or_default()),
        TaskStatus::Failed => ("error", work.outcome.take().unwrap_or_default()),
    };
    fields.insert(name.to_owned(), value);
    Value::Object(fields)
}

fn fields(task: &Task, work: &Work) -> Map<String, Value> {
    let status = match task.status {
        TaskStatus::Working => "working",
        TaskStatus::InputRequired => "input_required",
        TaskStatus::Completed => "completed",
        TaskStatus::Failed => "failed",
        TaskStatus::Cancelled => "cancelled",
    };
    let mut fields = Map::new();
    let mut insert = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    insert("taskId", task.id.as_str().into());
    insert("status", status.into());
    if let Some(message) = &work.message {
        insert("statusMessage", message.as_str().into());
    }
    insert("createdAt", iso_8601(task.created_ms).into());
    insert("lastUpdatedAt", iso_8601(task.updated_ms).into());
    insert("ttlMs", ttl_ms(task.created_ms, task.end_ms).into());
    insert("pollIntervalMs", POLL_INTERVAL_MS.into());
    fields
}

/// How long a task is kept. The time is set in seconds; its end is reckoned some milliseconds after its beginning was.
fn ttl_ms(created_ms: u64, end_ms: u64) -> u64 {
    (end_ms.saturating_sub(created_ms) / 1_000).max(1) * 1_000
}

/// A time, given in milliseconds since the Unix epoch, in UTC.
fn iso_8601(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_time_of_a_task_is_that_of_the_settings() {
        assert_eq!((ttl_ms(5, 60_005), ttl_ms(5, 60_022), ttl_ms(5, 5)), (60_000, 60_000, 1_000));
    }

    #[test]
    fn times_are_told_in_utc_with_milliseconds() {
        assert_eq!(iso_8601(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso_8601(1_764_064_800_120), "2025-11-25T10:00:00.120Z");
        assert_eq!(iso_8601(u64::MAX), "1970-01-01T00:00:00.000Z");
    }
}

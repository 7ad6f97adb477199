//! How a record is changed that others change too.

use std::time::Duration;

use task_mcp_state::{StateError, Task, TaskStatus, Tasks, Transition};

use super::work::Work;

/// Tries of a change that others get in the way of: each of them means that another one was made.
const TRIES: usize = 32;
/// Pause between two tries, so that a worker that is quicker does not win every time.
const PAUSE: Duration = Duration::from_millis(2);

/// What is to become of a task as it was seen.
pub(super) enum Step<T> {
    /// It stays as it is.
    Keep(T),
    /// It is changed: its new status.
    Put(TaskStatus, T),
}

/// Changes a task as `how` says of what it sees, which may be more than once; `None` if there is no such task. `how` must keep a task
/// that has ended.
///
/// # Errors
/// The state cannot be used, or others change the task all the time.
pub(super) async fn change<T>(
    tasks: &Tasks,
    owner: &str,
    id: &str,
    mut how: impl FnMut(&Task, &mut Work) -> Step<T>,
) -> Result<Option<T>, StateError> {
    let mut next = tasks.get(owner, id).await?;
    for _ in 0..TRIES {
        let Some(task) = next else { return Ok(None) };
        let Some(mut work) = Work::of(&task) else { return Ok(None) };
        let (status, outcome) = match how(&task, &mut work) {
            Step::Keep(outcome) => return Ok(Some(outcome)),
            Step::Put(status, outcome) => (status, outcome),
        };
        next = match tasks.change(owner, &task, status, work.to_json()).await? {
            Transition::Made(_) => return Ok(Some(outcome)),
            Transition::Refused(now) => Some(now),
            Transition::Missing => None,
        };
        tokio::time::sleep(PAUSE).await;
    }
    Err(StateError::Contended)
}

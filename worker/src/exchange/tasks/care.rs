//! Tasks whose worker died or left: one that may be run again is taken by whoever comes first, any other one fails.

use std::time::Duration;

use actix_web::web::Data;
use task_mcp_state::{Alive, Heard, StateError, Task, Transition};
use task_mcp_telemetry::TaskOutcome;
use tokio::time::{Instant, sleep_until};

use super::run;
use super::work::Work;
use crate::app::App;

/// The topic under which a worker that leaves tells of the tasks it leaves; the payload is the owner, a slash, and the id.
const LEFT: &str = "task-left";
/// How often each worker looks for tasks without a worker, should nobody ask after them.
const LOOK: Duration = Duration::from_secs(2);
/// Most tasks of one look; the next one goes on from there.
const LOOK_TASKS: usize = 256;

/// The task as it stands now, after what the death of its worker leads to; `None` if there is none of that owner.
///
/// # Errors
/// The state cannot be used.
pub(super) async fn look(app: &Data<App>, owner: &str, id: &str) -> Result<Option<Task>, StateError> {
    let tasks = app.state.tasks();
    let Some(task) = tasks.get(owner, id).await? else { return Ok(None) };
    if task.status.is_final() || tasks.is_run(&task).await? {
        return Ok(Some(task));
    }
    let Some(work) = Work::of(&task) else { return Ok(Some(task)) };
    let is_handed_over = tasks.is_handed_over(&task);
    let may_resume = work.resumes && (is_handed_over || work.may_resume());
    let made = if work.is_given_up || !may_resume {
        run::end_orphan(app, owner, &task, work).await?
    } else if app.tasks.is_leaving() || app.executor.turn(&work.tool).is_none() {
        // Another worker will.
        return Ok(Some(task));
    } else {
        resume(app, owner, &task, work, is_handed_over).await?
    };
    Ok(match made {
        Transition::Made(task) | Transition::Refused(task) => Some(task),
        Transition::Missing => None,
    })
}

/// Runs a task again, unless another worker was quicker.
async fn resume(
    app: &Data<App>,
    owner: &str,
    task: &Task,
    mut work: Work,
    is_handed_over: bool,
) -> Result<Transition, StateError> {
    let tasks = app.state.tasks();
    // Before it is claimed: from then on others ask whether it is run.
    let running = tasks.run(&task.id).await?;
    work.deaths += u32::from(!is_handed_over);
    work.has_begun &= !is_handed_over;
    let claimed = tasks.claim(owner, task, work.to_json()).await?;
    if let Transition::Made(task) = &claimed {
        app.metrics.mcp.task(TaskOutcome::Resumed);
        tracing::info!(
            task = task.id,
            tool = work.tool,
            deaths = work.deaths,
            "A task is run again from its beginning."
        );
        run::spawn(app, owner, task.clone(), work, running);
    }
    Ok(claimed)
}

/// Tells other workers of a task that waits for one.
pub(super) fn tell_left(app: &App, owner: &str, id: &str) {
    // Both are far below the limits of the bus.
    let _ = app.state.bus().publish(LEFT, &format!("{owner}/{id}"));
}

/// Looks after the tasks of all workers, for as long as this one lives.
pub(crate) async fn keep(app: Data<App>) {
    let mut left = app.state.bus().subscribe(&[LEFT]);
    let (mut after, mut look_at) = (String::new(), Instant::now());
    loop {
        tokio::select! {
            heard = left.next() => match heard {
                Heard::Event { payload, .. } => {
                    if let Some((owner, id)) = payload.rsplit_once('/') {
                        // What cannot be done now is done at a later look.
                        let _ = look(&app, owner, id).await;
                    }
                }
                Heard::Resync => look_at = Instant::now(),
            },
            () = sleep_until(look_at) => {
                // Each in a rhythm of its own, so that workers that were started together do not all look at the same moment.
                let own = Duration::from_millis(u64::from(std::process::id()) % 16 * 25);
                look_at = Instant::now() + LOOK - own;
                after = look_at_all(&app, &after).await;
            }
        }
    }
}

/// Looks at the next tasks of the list; where the next look goes on. What cannot be looked at now does not keep the others from it.
async fn look_at_all(app: &Data<App>, after: &str) -> String {
    let tasks = app.state.tasks();
    // The same place is tried again.
    let Ok(alive) = tasks.alive(after, LOOK_TASKS).await else { return after.to_owned() };
    for Alive { owner, id, .. } in &tasks.without_runner(&alive).await {
        match look(app, owner, id).await {
            Err(_) => {}
            Ok(Some(task)) if !task.status.is_final() => {}
            // Its own record has ended, and this one was left behind.
            Ok(_) => tasks.settle(owner, id).await,
        }
    }
    let is_last = alive.len() < LOOK_TASKS;
    alive.last().filter(|_| !is_last).map(|last| last.place.clone()).unwrap_or_default()
}

//! `implement-change`.

use std::collections::BTreeMap;
use std::sync::Arc;

use task_mcp_changes::{ChangeDetails, Store};
use task_mcp_mcp::{Content, PromptDescription};

use super::{about_a_change, change, says};
use crate::call::Call;
use crate::offers::{Prompt, PromptMessage};
use crate::stop::Stop;
use crate::tool::BoxFuture;

pub(super) const NAME: &str = "implement-change";

/// From the documents of a change to the archive.
pub(super) struct Implement(pub(super) Arc<dyn Store>);

impl Prompt for Implement {
    fn describe(&self) -> PromptDescription {
        let description = "Works through the tasks of a change one by one, ticks each when it is done, and archives the change, with \
                           its documents at hand.";
        about_a_change(NAME, "Implement a change", description)
    }

    fn get<'a>(
        &'a self,
        _: &'a Call,
        arguments: BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Vec<PromptMessage>, Stop>> {
        Box::pin(async move {
            let change = change::named(self.0.as_ref(), &arguments).await?;
            let mut messages = vec![says(Content::Text(text(&change)))];
            messages.extend(change::documents(self.0.as_ref(), &change, false).await?);
            Ok(messages)
        })
    }
}

fn text(change: &ChangeDetails) -> String {
    let ChangeDetails { slug, title, task_counts, .. } = change;
    let (done, all) = (task_counts.completed, task_counts.total);
    let next = change.tasks.iter().find(|task| !task.done);
    let next = next.map_or_else(|| "none is open".to_owned(), |task| format!("the next is: {}", task.text));
    let holder = change
        .lock
        .as_ref()
        .map_or_else(String::new, |lock| format!(" Its lock is held by {} until {}.", lock.owner, lock.expires_at));
    let title_json = serde_json::json!(title);
    format!(
        "Implement the change `{slug}`: **{title}**

{done} of {all} tasks are done; {next}.{holder} Its documents follow.

Work in these steps.

1. Call `change.open` with `{{\"slug\":\"{slug}\",\"title\":{title_json}}}`. That resumes the change and takes or refreshes its lock; no \
document is touched. `ELOCKED` means that somebody else is at work on it: stop and say who. If `missing` names something, the proposal \
is not finished: say so first.
2. Read the proposal, the design if there is one, the deltas, and the living specs they change (`spec://<capability>`). The scenarios \
of the deltas are what has to hold in the end.
3. Take the first open task. Do it and no more than it, with its tests; see the tests pass. Then tick it in \
`openspec/changes/{slug}/tasks.md`: `- [ ]` becomes `- [x]`, and nothing else of the line changes. Tick nothing before it is done, and \
never several at once at the end. `change.show` tells how far the change is.
4. Go on until no task is open. The lock lasts an hour unless `ttl` says otherwise: call `change.open` again before it runs out.
5. If a task shows that the plan is wrong, stop and say so; with consent, correct proposal, deltas and tasks before the code.
6. At the end run the whole test suite, and go through the scenarios of the deltas one by one: for each, name the test or the code that \
keeps it.
7. When the work is accepted, call `change.archive` with `{{\"slug\":\"{slug}\"}}`. It checks the change, merges its deltas into the living \
specs and moves it to the archive. `EOPENTASKS` means that tasks are open: finish them. Pass `allowOpenTasks` only if the user has said \
that they are to stay open. `EBADSHAPE_INVALID_DELTA` names what to correct in the deltas.
"
    )
}

//! `review-change`.

use std::collections::BTreeMap;
use std::sync::Arc;

use task_mcp_changes::{ChangeDetails, Store};
use task_mcp_mcp::{Content, PromptDescription};

use super::form::DELTA;
use super::{about_a_change, change, says};
use crate::call::Call;
use crate::offers::{Prompt, PromptMessage};
use crate::stop::Stop;
use crate::tool::BoxFuture;

pub(super) const NAME: &str = "review-change";

/// A second pair of eyes.
pub(super) struct Review(pub(super) Arc<dyn Store>);

impl Prompt for Review {
    fn describe(&self) -> PromptDescription {
        let description = "Reviews a change against the living specs it touches: purpose, deltas, tasks, and what is implemented, with \
                           its documents at hand. Changes nothing.";
        about_a_change(NAME, "Review a change", description)
    }

    fn get<'a>(
        &'a self,
        _: &'a Call,
        arguments: BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Vec<PromptMessage>, Stop>> {
        Box::pin(async move {
            let change = change::named(self.0.as_ref(), &arguments).await?;
            let mut messages = vec![says(Content::Text(text(&change)))];
            messages.extend(change::documents(self.0.as_ref(), &change, true).await?);
            Ok(messages)
        })
    }
}

fn text(change: &ChangeDetails) -> String {
    let ChangeDetails { slug, title, task_counts, .. } = change;
    let (done, all) = (task_counts.completed, task_counts.total);
    let operation = |delta: &task_mcp_changes::DeltaEntry| {
        let name = match &delta.rename {
            Some(rename) => format!("{} -> {}", rename.from, rename.to),
            None => delta.requirement.clone(),
        };
        format!("- {} in `{}`: {name}", delta.operation, delta.capability)
    };
    let deltas: Vec<String> = change.deltas.iter().map(operation).collect();
    let deltas = if deltas.is_empty() { "- none".to_owned() } else { deltas.join("\n") };
    format!(
        "Review the change `{slug}`: **{title}**

{done} of {all} tasks are done. What its deltas do, as the server reads them:

{deltas}

Its documents follow, and the living specs that it touches. Change nothing: do not call `change.open`, which would take the lock, nor \
`change.archive`.

Look at these in turn.

1. Purpose. Does `Why` name a problem, and does `What Changes` solve that problem and nothing else? Is everything it names covered by a \
delta, and does no delta go beyond it?
2. Deltas against the living specs. Is every operation in the list above one that was meant? Does anything contradict a requirement \
that stays? Do changes under way touch the same requirements (`changes.active`, then `change.show` of each)? Two changes that modify \
one requirement lose the text of the one that is archived first.
3. Form, which archiving insists on:

{DELTA}

4. Requirements. Can each be tested? Are limits, failures and permissions said? Is there a scenario for what goes wrong, not only for \
what goes right?
5. Tasks. Do they lead to every scenario, tests and documentation included, in an order that keeps the build working? Is each ticked \
one really done in the code?
6. Design, if there is one: are the decisions justified, the ways not taken named, open questions answered? If there is none: is one \
needed?

Answer with a verdict (ready to implement, ready to archive, or not yet), then the findings, the gravest first. Each names the document \
and the line or requirement, what is wrong, and a text to put in its place. Say what you could not check.
"
    )
}

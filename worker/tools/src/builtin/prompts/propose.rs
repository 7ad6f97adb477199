//! `propose-change`.

use std::collections::BTreeMap;
use std::sync::Arc;

use task_mcp_changes::{ActiveQuery, DocumentName, Slug, Store};
use task_mcp_mcp::{Content, PromptArgument, PromptDescription, RpcError};

use super::super::refusal;
use super::form::{DELTA, DOCUMENTS};
use super::{refused, says};
use crate::call::Call;
use crate::offers::{Prompt, PromptMessage};
use crate::stop::Stop;
use crate::tool::BoxFuture;

pub(super) const NAME: &str = "propose-change";

/// As `change.open` has it, in characters.
const TITLE_MAX: usize = 200;
/// As the rationale of `change.open`, in characters.
const CONTEXT_MAX: usize = 10_000;
/// Changes and capabilities that are named: enough to see what there is; more are to be asked for.
const NAMED_MAX: usize = 50;

/// From an idea to the documents of a change.
pub(super) struct Propose(pub(super) Arc<dyn Store>);

impl Prompt for Propose {
    fn describe(&self) -> PromptDescription {
        let argument = |name: &str, description: &str, required| PromptArgument {
            name: name.to_owned(),
            description: description.to_owned(),
            required,
        };
        PromptDescription {
            name: NAME.to_owned(),
            title: "Propose a change".to_owned(),
            description: "Opens a change and writes its proposal, deltas and tasks in the form of OpenSpec, up to the point where \
                          people agree to it."
                .to_owned(),
            arguments: vec![
                argument("title", "What is to change, on one line", true),
                argument("context", "Why, for whom, what is known already", false),
            ],
        }
    }

    fn get<'a>(
        &'a self,
        _: &'a Call,
        arguments: BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Vec<PromptMessage>, Stop>> {
        Box::pin(async move {
            let title = title(arguments.get("title").map(String::as_str).unwrap_or_default())?;
            let context = arguments.get("context").map(|context| context.trim()).filter(|context| !context.is_empty());
            if context.is_some_and(|context| context.chars().count() > CONTEXT_MAX) {
                return Err(refused("context", &format!("it must be at most {CONTEXT_MAX} characters")).into());
            }
            let text = text(title, context, &self.under_way().await?, &self.capabilities().await?);
            Ok(vec![says(Content::Text(text))])
        })
    }
}

impl Propose {
    /// The active changes, a bullet each.
    async fn under_way(&self) -> Result<String, Stop> {
        let query = ActiveQuery { page_size: Some(NAMED_MAX as u64), ..ActiveQuery::default() };
        let page = self.0.active(query).await.map_err(refusal)?;
        let lines = page.items.iter().map(|item| format!("- `{}`: {}", item.slug, item.title));
        Ok(bullets(lines.collect(), page.total))
    }

    /// The capabilities with a living spec, a bullet each.
    async fn capabilities(&self) -> Result<String, Stop> {
        let documents = self.0.documents().await.map_err(refusal)?;
        let specs = documents.iter().filter(|entry| matches!(entry.name, DocumentName::Spec(_)));
        let uris: Vec<String> = specs.map(|entry| format!("- `{}`", entry.name.uri())).collect();
        let total = uris.len();
        Ok(bullets(uris.into_iter().take(NAMED_MAX).collect(), total))
    }
}

fn bullets(lines: Vec<String>, total: usize) -> String {
    match total.saturating_sub(lines.len()) {
        0 if lines.is_empty() => "- none yet".to_owned(),
        0 => lines.join("\n"),
        more => format!("{}\n- and {more} more", lines.join("\n")),
    }
}

fn title(given: &str) -> Result<&str, RpcError> {
    let title = given.trim();
    if title.is_empty() || title.chars().count() > TITLE_MAX || title.chars().any(char::is_control) {
        return Err(refused("title", &format!("it must be 1 to {TITLE_MAX} characters on one line")));
    }
    Ok(title)
}

/// A slug made of a title, where one can be made: its letters and digits, in words.
fn slug_of(title: &str) -> Option<Slug> {
    /// Longer ones are cumbersome to type; the rule allows 64.
    const LENGTH_MAX: usize = 40;
    let lower = title.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = String::new();
    for word in words {
        if slug.len() + word.len() >= LENGTH_MAX {
            break;
        }
        slug.push_str(if slug.is_empty() { "" } else { "-" });
        slug.push_str(word);
    }
    Slug::parse(&slug).ok()
}

fn text(title: &str, context: Option<&str>, under_way: &str, capabilities: &str) -> String {
    let context = context.map(|context| format!("\nWhat is known already:\n\n{context}\n")).unwrap_or_default();
    let slug = slug_of(title).map(|slug| format!(", for instance `{slug}`")).unwrap_or_default();
    format!(
        "Propose a change in this repository, which keeps its specifications with OpenSpec: **{title}**\n{context}
Changes under way:

{under_way}

Living specs:

{capabilities}

Work in these steps.

1. Look whether one of the changes under way has the same purpose (`changes.active` lists all, `change.show` tells more of one). If so, \
say so and go on with that one.
2. Read the living specs that the change will touch, as resources `spec://<capability>`, and the code they are about. If something that \
decides the scope is unclear, ask before you write.
3. Call `change.open` with `slug`, `title`, `rationale` and `template` (feature, bugfix or chore). The slug begins with a verb and has \
3 to 64 characters of a-z, 0-9 and hyphens{slug}. The call creates the documents and locks the change for you; its result tells under \
`paths` where they are and under `missing` what is still to be written. `ELOCKED` means that somebody else is at work on it: stop and \
say who.
4. Write the documents in the working tree, at those paths.

{DOCUMENTS}

A delta says how a living spec changes:

{DELTA}

5. Check it. Call `change.open` again with the same slug and title: no document is touched, and `missing` must be empty. Call \
`change.show`: under `deltas` every requirement must be there with the operation you meant. Where the OpenSpec CLI is installed, \
`openspec validate <slug> --strict` must pass.
6. Stop there. Show the proposal with its open questions, and wait until it is agreed to before you implement anything.
"
    )
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_title_becomes_a_slug_where_it_can() {
        for (title, slug) in [
            ("Add sign-in with a passkey!", Some("add-sign-in-with-a-passkey")),
            ("  Ünïcode: 2FA  ", Some("n-code-2fa")),
            ("登录", None),
            ("a", None),
            ("archive", None),
            (
                "Replace the very long name of something that nobody can type",
                Some("replace-the-very-long-name-of-something"),
            ),
        ] {
            assert_eq!(slug_of(title).as_ref().map(Slug::as_str), slug, "{title}");
        }
    }
}

//! Prompts for the life of a change: propose it, implement it, review it.
//!
//! - `propose`, `implement`, `review`: one prompt each; `form`: what OpenSpec demands of documents
//! - `change`: a change that a prompt is about, with its documents
//!
//! They tell an agent how to work with this server. They name its tools, and only those there are: a test reads them.

mod change;
mod form;
mod implement;
mod propose;
mod review;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use task_mcp_changes::Store;
use task_mcp_mcp::{Content, PromptArgument, PromptDescription, RpcError};

use crate::offers::{Prompt, PromptMessage, Role};

/// The argument that names a change.
pub(super) const SLUG: &str = "slug";

/// Their names, in the order they are listed.
const NAMES: [&str; 3] = [propose::NAME, implement::NAME, review::NAME];

/// All of them over one store.
pub(super) fn all(store: &Arc<dyn Store>) -> Vec<Arc<dyn Prompt>> {
    vec![
        Arc::new(propose::Propose(Arc::clone(store))),
        Arc::new(implement::Implement(Arc::clone(store))),
        Arc::new(review::Review(Arc::clone(store))),
    ]
}

/// Whether one has that name.
pub(super) fn has(name: &str) -> bool {
    NAMES.contains(&name)
}

/// What a list shows of a prompt whose one argument is the slug of a change.
fn about_a_change(name: &str, title: &str, description: &str) -> PromptDescription {
    let slug =
        PromptArgument { name: SLUG.to_owned(), description: "Name of an active change".to_owned(), required: true };
    PromptDescription {
        name: name.to_owned(),
        title: title.to_owned(),
        description: description.to_owned(),
        arguments: vec![slug],
    }
}

fn says(content: Content) -> PromptMessage {
    PromptMessage { role: Role::User, content }
}

fn refused(argument: &str, problem: &str) -> RpcError {
    RpcError::invalid_params(format!("the argument `{argument}`: {problem}"))
}

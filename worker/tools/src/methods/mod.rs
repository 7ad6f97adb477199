//! Methods of the protocol that compute something, as tools that no list shows: they take the executor's one path too, with its
//! deadline, cache, slots and metrics.
//!
//! - `prompts`: `prompts/get`; `resources`: `resources/list` and `resources/read`; `completion`: `completion/complete`

mod completion;
mod prompts;
mod resources;

use std::sync::Arc;

pub(crate) use resources::not_found;
use serde_json::{Value, json};
use task_mcp_mcp::{ToolAnnotations, ToolDescription};

use crate::offers::{Completer, Prompt, Resources};
use crate::tool::Tool;

/// `completion/complete`: its parameters.
pub const COMPLETE: &str = "completion/complete";
/// `prompts/get`: `{name, arguments}`.
pub const GET_PROMPT: &str = "prompts/get";
/// `resources/list`: `{cursor}`.
pub const LIST_RESOURCES: &str = "resources/list";
/// `resources/read`: `{uri}`.
pub const READ_RESOURCE: &str = "resources/read";

/// All of them, in the order in which metrics know them.
pub(crate) const NAMES: [&str; 4] = [COMPLETE, GET_PROMPT, LIST_RESOURCES, READ_RESOURCE];

/// The methods over what is offered, in the order of [`NAMES`].
pub(crate) fn methods(
    prompts: &[Arc<dyn Prompt>],
    resources: &[Arc<dyn Resources>],
    completions: &[Arc<dyn Completer>],
) -> Vec<Arc<dyn Tool>> {
    vec![
        Arc::new(completion::Complete {
            completers: completions.to_vec(),
            prompts: prompts.to_vec(),
            resources: resources.to_vec(),
        }),
        Arc::new(prompts::Get(prompts.to_vec())),
        Arc::new(resources::List(resources.to_vec())),
        Arc::new(resources::Read(resources.to_vec())),
    ]
}

/// What the registry must know of a method.
fn describe(name: &str, properties: Value, required: &[&str]) -> ToolDescription {
    ToolDescription {
        name: name.to_owned(),
        title: name.to_owned(),
        description: String::new(),
        input_schema: json!({ "type": "object", "properties": properties, "required": required }),
        output_schema: None,
        annotations: ToolAnnotations {
            read_only_hint: true,
            destructive_hint: false,
            idempotent_hint: true,
            open_world_hint: false,
        },
    }
}

//! What is offered over OpenSpec changes.
//!
//! One file for each tool; `schema` holds what their schemas share, `tags` what their results depend on. `resources`: the documents
//! and the list of changes; `prompts`; `completion`: slugs and capabilities while they are typed.

mod active;
mod archive;
mod completion;
mod open;
mod prompts;
mod resources;
mod schema;
mod show;
pub mod tags;

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use task_mcp_changes::{ChangesError, Slug, Store};
use task_mcp_mcp::{ToolDescription, shown};

use crate::error::{ToolError, code};
use crate::methods;
use crate::offers::{Additions, Completer, Prompt, Resources};
use crate::registry::all_codes;
use crate::stop::Stop;
use crate::tool::{Aftermath, Output, Tool};

/// The built-in tools over `store`, in the order they are listed: the one that works with `{}` first.
pub fn builtin_tools(store: &Arc<dyn Store>) -> Vec<Arc<dyn Tool>> {
    vec![
        Arc::new(active::Active(Arc::clone(store))),
        Arc::new(show::Show(Arc::clone(store))),
        Arc::new(open::Open(Arc::clone(store))),
        Arc::new(archive::Archive(Arc::clone(store))),
    ]
}

/// The built-in prompts over `store`, in the order they are listed.
pub fn builtin_prompts(store: &Arc<dyn Store>) -> Vec<Arc<dyn Prompt>> {
    prompts::all(store)
}

/// The built-in resources over `store`.
pub fn builtin_resources(store: &Arc<dyn Store>) -> Vec<Arc<dyn Resources>> {
    vec![Arc::new(resources::Documents::new(Arc::clone(store)))]
}

/// The built-in completions over `store`.
pub fn builtin_completions(store: &Arc<dyn Store>) -> Vec<Arc<dyn Completer>> {
    vec![Arc::new(completion::Names::new(Arc::clone(store)))]
}

/// What is known of the tools of an instance before there is a store.
#[derive(Debug, Clone)]
pub struct Inventory {
    names: Vec<String>,
    codes: Vec<&'static str>,
}

impl Inventory {
    /// The built-in tools, those of `additions` and the methods, in the order of a [`Registry`](crate::Registry) over all.
    pub fn with(additions: &Additions) -> Self {
        let others = &additions.tools;
        let builtin = [active::describe(), show::describe(), open::describe(), archive::describe()];
        let names =
            builtin.into_iter().chain(others.iter().map(|tool| tool.describe())).map(|description| description.name);
        let codes = std::iter::once(ChangesError::CODES).chain(others.iter().map(|tool| tool.error_codes()));
        let names = names.chain(methods::NAMES.map(str::to_owned));
        Self { names: names.collect(), codes: all_codes(codes) }
    }

    /// Names, in order.
    pub fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// Error codes, in order.
    pub fn codes(&self) -> &[&'static str] {
        &self.codes
    }
}

/// The arguments as a type. The schema has let them pass, so what fails here is a schema that promises too much.
fn typed<T: DeserializeOwned>(arguments: Value) -> Result<T, ToolError> {
    serde_json::from_value(arguments)
        .map_err(|error| ToolError::new(code::INVALID_INPUT, format!("arguments: {}", shown(&error.to_string()))))
}

/// A slug that may name a change.
fn slug(text: &str) -> Result<Slug, ToolError> {
    Slug::parse(text).map_err(refusal)
}

/// A result of the store as an output, an error of it as one of a tool.
fn answer<T: Serialize>(outcome: Result<T, ChangesError>) -> Result<Output, Stop> {
    Ok(Output::of(&outcome.map_err(refusal)?)?)
}

/// What a caller is told of the store's error; its causes are for the log.
fn refusal(error: ChangesError) -> ToolError {
    if let Some(source) = std::error::Error::source(&error) {
        tracing::warn!(code = error.code(), error = %error, source, "The store could not do what a call asked for.");
    }
    ToolError { code: error.code().into(), message: error.to_string(), hint: error.hint(), details: error.details() }
}

/// What an error of a write to the store says of what was done.
fn aftermath(code: &str) -> Aftermath {
    match code {
        "EBUSY" | "ELOCKED" => Aftermath::NothingDone,
        "EIO" | "EINTERNAL" => Aftermath::Unknown,
        _ => Aftermath::Refused,
    }
}

/// The fields of a description that differ between tools.
struct Outline {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    input: Value,
    output: Value,
    writes: bool,
}

impl From<Outline> for ToolDescription {
    fn from(outline: Outline) -> Self {
        Self {
            name: outline.name.into(),
            title: outline.title.into(),
            description: outline.description.into(),
            input_schema: outline.input,
            output_schema: Some(outline.output),
            annotations: task_mcp_mcp::ToolAnnotations {
                read_only_hint: !outline.writes,
                destructive_hint: false,
                idempotent_hint: true,
                open_world_hint: false,
            },
        }
    }
}
